# Developer shortcuts; each is one command that can be typed by hand.
.PHONY: check test lint readme
check: lint test
lint:
	ruff check .
	ruff format --check .
	mypy scaling
test:
	python -m pytest -q
readme:
	python docs/refresh_readme.py
