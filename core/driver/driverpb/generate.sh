#!/bin/sh
# Generates the Go code of driver.proto beside it. Needs protoc (Debian: protobuf-compiler); the two generators are built
# from the module proxy at the versions below, whatever is installed on the machine. The line that names protoc's own
# version is taken out, so that every protoc gives the same bytes and CI can compare them.
set -eu
cd "$(dirname "$0")"

command -v protoc >/dev/null || { echo "generate.sh: protoc is missing: apt-get install protobuf-compiler" >&2; exit 1; }
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
GOBIN="$tools" GOFLAGS= go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
GOBIN="$tools" GOFLAGS= go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2

PATH="$tools:$PATH" protoc --proto_path=. \
	--go_out=. --go_opt=paths=source_relative \
	--go-grpc_out=. --go-grpc_opt=paths=source_relative \
	driver.proto
sed -i -E '/^\/\/ (- )?\s*protoc\s+v/d' driver.pb.go driver_grpc.pb.go
