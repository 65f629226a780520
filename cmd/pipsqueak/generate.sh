#!/bin/sh
# Generates the messages of the SDK in Python from driver.proto. The version of grpcio-tools, in requirements.txt,
# decides what is generated; `make generate` installs it.
set -eu
cd "$(dirname "$0")"

python=../../.deps/grpc/bin/python
[ -x "$python" ] || { echo "generate.sh: $python is missing: make generate installs it" >&2; exit 1; }
sdk=newdriver/python/sdk
# The folder of the source stands for the package that the code goes into, for its imports.
"$python" -m grpc_tools.protoc --proto_path=pipsqueak_driver/wire=../../core/driver/driverpb \
	--python_out="$sdk" --pyi_out="$sdk" --grpc_python_out="$sdk" pipsqueak_driver/wire/driver.proto
