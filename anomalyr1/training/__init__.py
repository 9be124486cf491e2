"""Supervised fine-tuning and GRPO."""
