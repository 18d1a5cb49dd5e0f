"""Set-up on a bare machine: `deploy/setup.sh`, which every `make` target that needs it calls first.

It runs on the system's Python with the standard library alone, makes what is missing and says so; when nothing is
missing it costs a tenth of a second. Everything it installs is pinned by hash. It lives inside the project:

- `.venv-setup`: uv, which installs the rest, and what builds pillow-simd (`bootstrap.lock`)
- `.cache/wheels`: pillow-simd, compiled for this machine
- `image_svc/pipeline/native/*.so`: the project's own C, compiled for this machine
- `.venv`: the services and their tests (`requirements.lock`)
- `.venv-localstack`: LocalStack, which pins libraries in other versions (`deploy/local/localstack.lock`)
- `.venv-checkov`: checkov, for the gates and made by them alone (`deploy/gates/checkov.lock`)
"""
