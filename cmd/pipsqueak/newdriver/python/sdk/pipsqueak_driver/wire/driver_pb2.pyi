from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Description(_message.Message):
    __slots__ = ("language", "version", "capabilities", "runtimes", "problems")
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    RUNTIMES_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    language: str
    version: str
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    runtimes: _containers.RepeatedCompositeFieldContainer[Runtime]
    problems: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, language: _Optional[str] = ..., version: _Optional[str] = ..., capabilities: _Optional[_Iterable[str]] = ..., runtimes: _Optional[_Iterable[_Union[Runtime, _Mapping]]] = ..., problems: _Optional[_Iterable[str]] = ...) -> None: ...

class Runtime(_message.Message):
    __slots__ = ("id", "version", "path", "mounts", "hidden", "handlers", "tools", "extensions", "manifests", "registries", "archives", "programs", "overlay", "toolchain", "system_calls")
    ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    MOUNTS_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_FIELD_NUMBER: _ClassVar[int]
    HANDLERS_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    EXTENSIONS_FIELD_NUMBER: _ClassVar[int]
    MANIFESTS_FIELD_NUMBER: _ClassVar[int]
    REGISTRIES_FIELD_NUMBER: _ClassVar[int]
    ARCHIVES_FIELD_NUMBER: _ClassVar[int]
    PROGRAMS_FIELD_NUMBER: _ClassVar[int]
    OVERLAY_FIELD_NUMBER: _ClassVar[int]
    TOOLCHAIN_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_CALLS_FIELD_NUMBER: _ClassVar[int]
    id: str
    version: str
    path: str
    mounts: _containers.RepeatedCompositeFieldContainer[Mount]
    hidden: _containers.RepeatedScalarFieldContainer[str]
    handlers: _containers.RepeatedCompositeFieldContainer[HandlerFile]
    tools: _containers.RepeatedCompositeFieldContainer[Mount]
    extensions: _containers.RepeatedScalarFieldContainer[str]
    manifests: _containers.RepeatedScalarFieldContainer[str]
    registries: _containers.RepeatedScalarFieldContainer[str]
    archives: _containers.RepeatedScalarFieldContainer[str]
    programs: _containers.RepeatedCompositeFieldContainer[Program]
    overlay: str
    toolchain: _containers.RepeatedScalarFieldContainer[str]
    system_calls: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., version: _Optional[str] = ..., path: _Optional[str] = ..., mounts: _Optional[_Iterable[_Union[Mount, _Mapping]]] = ..., hidden: _Optional[_Iterable[str]] = ..., handlers: _Optional[_Iterable[_Union[HandlerFile, _Mapping]]] = ..., tools: _Optional[_Iterable[_Union[Mount, _Mapping]]] = ..., extensions: _Optional[_Iterable[str]] = ..., manifests: _Optional[_Iterable[str]] = ..., registries: _Optional[_Iterable[str]] = ..., archives: _Optional[_Iterable[str]] = ..., programs: _Optional[_Iterable[_Union[Program, _Mapping]]] = ..., overlay: _Optional[str] = ..., toolchain: _Optional[_Iterable[str]] = ..., system_calls: _Optional[_Iterable[str]] = ...) -> None: ...

class Program(_message.Message):
    __slots__ = ("name", "version", "tested")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TESTED_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    tested: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., tested: _Optional[_Iterable[str]] = ...) -> None: ...

class Mount(_message.Message):
    __slots__ = ("source", "target", "writable")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    WRITABLE_FIELD_NUMBER: _ClassVar[int]
    source: str
    target: str
    writable: bool
    def __init__(self, source: _Optional[str] = ..., target: _Optional[str] = ..., writable: _Optional[bool] = ...) -> None: ...

class HandlerFile(_message.Message):
    __slots__ = ("file", "handler")
    FILE_FIELD_NUMBER: _ClassVar[int]
    HANDLER_FIELD_NUMBER: _ClassVar[int]
    file: str
    handler: str
    def __init__(self, file: _Optional[str] = ..., handler: _Optional[str] = ...) -> None: ...

class Sandbox(_message.Message):
    __slots__ = ("id", "gate")
    ID_FIELD_NUMBER: _ClassVar[int]
    GATE_FIELD_NUMBER: _ClassVar[int]
    id: str
    gate: str
    def __init__(self, id: _Optional[str] = ..., gate: _Optional[str] = ...) -> None: ...

class Parked(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PreloadRequest(_message.Message):
    __slots__ = ("id", "runtime", "sandbox")
    ID_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    SANDBOX_FIELD_NUMBER: _ClassVar[int]
    id: str
    runtime: str
    sandbox: Sandbox
    def __init__(self, id: _Optional[str] = ..., runtime: _Optional[str] = ..., sandbox: _Optional[_Union[Sandbox, _Mapping]] = ...) -> None: ...

class ForkRequest(_message.Message):
    __slots__ = ("id", "parent", "sandbox")
    ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    SANDBOX_FIELD_NUMBER: _ClassVar[int]
    id: str
    parent: str
    sandbox: Sandbox
    def __init__(self, id: _Optional[str] = ..., parent: _Optional[str] = ..., sandbox: _Optional[_Union[Sandbox, _Mapping]] = ...) -> None: ...

class ImportRequest(_message.Message):
    __slots__ = ("id", "load")
    ID_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    id: str
    load: Load
    def __init__(self, id: _Optional[str] = ..., load: _Optional[_Union[Load, _Mapping]] = ...) -> None: ...

class Load(_message.Message):
    __slots__ = ("packages", "modules", "watch", "draw")
    PACKAGES_FIELD_NUMBER: _ClassVar[int]
    MODULES_FIELD_NUMBER: _ClassVar[int]
    WATCH_FIELD_NUMBER: _ClassVar[int]
    DRAW_FIELD_NUMBER: _ClassVar[int]
    packages: _containers.RepeatedScalarFieldContainer[str]
    modules: _containers.RepeatedScalarFieldContainer[str]
    watch: bool
    draw: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, packages: _Optional[_Iterable[str]] = ..., modules: _Optional[_Iterable[str]] = ..., watch: _Optional[bool] = ..., draw: _Optional[_Iterable[str]] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("took", "modules", "threads", "loaded", "reads", "drawn", "asks")
    class ModulesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class DrawnEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TOOK_FIELD_NUMBER: _ClassVar[int]
    MODULES_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    LOADED_FIELD_NUMBER: _ClassVar[int]
    READS_FIELD_NUMBER: _ClassVar[int]
    DRAWN_FIELD_NUMBER: _ClassVar[int]
    ASKS_FIELD_NUMBER: _ClassVar[int]
    took: int
    modules: _containers.ScalarMap[str, int]
    threads: int
    loaded: _containers.RepeatedScalarFieldContainer[str]
    reads: _containers.RepeatedScalarFieldContainer[str]
    drawn: _containers.ScalarMap[str, str]
    asks: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, took: _Optional[int] = ..., modules: _Optional[_Mapping[str, int]] = ..., threads: _Optional[int] = ..., loaded: _Optional[_Iterable[str]] = ..., reads: _Optional[_Iterable[str]] = ..., drawn: _Optional[_Mapping[str, str]] = ..., asks: _Optional[_Iterable[str]] = ...) -> None: ...

class Package(_message.Message):
    __slots__ = ("name", "version", "digest", "archives", "requires", "scripts", "url")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    ARCHIVES_FIELD_NUMBER: _ClassVar[int]
    REQUIRES_FIELD_NUMBER: _ClassVar[int]
    SCRIPTS_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    digest: str
    archives: _containers.RepeatedScalarFieldContainer[str]
    requires: _containers.RepeatedScalarFieldContainer[str]
    scripts: bool
    url: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., digest: _Optional[str] = ..., archives: _Optional[_Iterable[str]] = ..., requires: _Optional[_Iterable[str]] = ..., scripts: _Optional[bool] = ..., url: _Optional[str] = ...) -> None: ...

class Lock(_message.Message):
    __slots__ = ("runtime", "inputs", "packages", "files")
    class FilesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    PACKAGES_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    runtime: str
    inputs: str
    packages: _containers.RepeatedCompositeFieldContainer[Package]
    files: _containers.ScalarMap[str, str]
    def __init__(self, runtime: _Optional[str] = ..., inputs: _Optional[str] = ..., packages: _Optional[_Iterable[_Union[Package, _Mapping]]] = ..., files: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ResolveRequest(_message.Message):
    __slots__ = ("runtime", "handler", "sandbox", "debian", "allow", "lock")
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    HANDLER_FIELD_NUMBER: _ClassVar[int]
    SANDBOX_FIELD_NUMBER: _ClassVar[int]
    DEBIAN_FIELD_NUMBER: _ClassVar[int]
    ALLOW_FIELD_NUMBER: _ClassVar[int]
    LOCK_FIELD_NUMBER: _ClassVar[int]
    runtime: str
    handler: str
    sandbox: Sandbox
    debian: _containers.RepeatedScalarFieldContainer[str]
    allow: _containers.RepeatedScalarFieldContainer[str]
    lock: Lock
    def __init__(self, runtime: _Optional[str] = ..., handler: _Optional[str] = ..., sandbox: _Optional[_Union[Sandbox, _Mapping]] = ..., debian: _Optional[_Iterable[str]] = ..., allow: _Optional[_Iterable[str]] = ..., lock: _Optional[_Union[Lock, _Mapping]] = ...) -> None: ...

class Resolution(_message.Message):
    __slots__ = ("packages", "imports", "files", "sets", "perhaps", "offers")
    class FilesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PACKAGES_FIELD_NUMBER: _ClassVar[int]
    IMPORTS_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    SETS_FIELD_NUMBER: _ClassVar[int]
    PERHAPS_FIELD_NUMBER: _ClassVar[int]
    OFFERS_FIELD_NUMBER: _ClassVar[int]
    packages: _containers.RepeatedCompositeFieldContainer[Package]
    imports: _containers.RepeatedScalarFieldContainer[str]
    files: _containers.ScalarMap[str, str]
    sets: _containers.RepeatedScalarFieldContainer[str]
    perhaps: _containers.RepeatedScalarFieldContainer[str]
    offers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, packages: _Optional[_Iterable[_Union[Package, _Mapping]]] = ..., imports: _Optional[_Iterable[str]] = ..., files: _Optional[_Mapping[str, str]] = ..., sets: _Optional[_Iterable[str]] = ..., perhaps: _Optional[_Iterable[str]] = ..., offers: _Optional[_Iterable[str]] = ...) -> None: ...

class InstallRequest(_message.Message):
    __slots__ = ("runtime", "packages", "sandbox", "allow")
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    PACKAGES_FIELD_NUMBER: _ClassVar[int]
    SANDBOX_FIELD_NUMBER: _ClassVar[int]
    ALLOW_FIELD_NUMBER: _ClassVar[int]
    runtime: str
    packages: _containers.RepeatedCompositeFieldContainer[Package]
    sandbox: Sandbox
    allow: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, runtime: _Optional[str] = ..., packages: _Optional[_Iterable[_Union[Package, _Mapping]]] = ..., sandbox: _Optional[_Union[Sandbox, _Mapping]] = ..., allow: _Optional[_Iterable[str]] = ...) -> None: ...

class BuildRequest(_message.Message):
    __slots__ = ("runtime", "handler", "packages", "sandbox")
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    HANDLER_FIELD_NUMBER: _ClassVar[int]
    PACKAGES_FIELD_NUMBER: _ClassVar[int]
    SANDBOX_FIELD_NUMBER: _ClassVar[int]
    runtime: str
    handler: str
    packages: _containers.RepeatedCompositeFieldContainer[Package]
    sandbox: Sandbox
    def __init__(self, runtime: _Optional[str] = ..., handler: _Optional[str] = ..., packages: _Optional[_Iterable[_Union[Package, _Mapping]]] = ..., sandbox: _Optional[_Union[Sandbox, _Mapping]] = ...) -> None: ...

class CompileRequest(_message.Message):
    __slots__ = ("runtime", "packages", "sandbox")
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    PACKAGES_FIELD_NUMBER: _ClassVar[int]
    SANDBOX_FIELD_NUMBER: _ClassVar[int]
    runtime: str
    packages: _containers.RepeatedCompositeFieldContainer[Package]
    sandbox: Sandbox
    def __init__(self, runtime: _Optional[str] = ..., packages: _Optional[_Iterable[_Union[Package, _Mapping]]] = ..., sandbox: _Optional[_Union[Sandbox, _Mapping]] = ...) -> None: ...

class Compiled(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ScanRequest(_message.Message):
    __slots__ = ("runtime", "packages", "sandbox", "archive")
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    PACKAGES_FIELD_NUMBER: _ClassVar[int]
    SANDBOX_FIELD_NUMBER: _ClassVar[int]
    ARCHIVE_FIELD_NUMBER: _ClassVar[int]
    runtime: str
    packages: _containers.RepeatedCompositeFieldContainer[Package]
    sandbox: Sandbox
    archive: str
    def __init__(self, runtime: _Optional[str] = ..., packages: _Optional[_Iterable[_Union[Package, _Mapping]]] = ..., sandbox: _Optional[_Union[Sandbox, _Mapping]] = ..., archive: _Optional[str] = ...) -> None: ...

class Scanned(_message.Message):
    __slots__ = ("suspicions", "packages")
    SUSPICIONS_FIELD_NUMBER: _ClassVar[int]
    PACKAGES_FIELD_NUMBER: _ClassVar[int]
    suspicions: _containers.RepeatedCompositeFieldContainer[Suspicion]
    packages: _containers.RepeatedCompositeFieldContainer[Package]
    def __init__(self, suspicions: _Optional[_Iterable[_Union[Suspicion, _Mapping]]] = ..., packages: _Optional[_Iterable[_Union[Package, _Mapping]]] = ...) -> None: ...

class Suspicion(_message.Message):
    __slots__ = ("package", "rule", "file", "line", "reason")
    PACKAGE_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    package: str
    rule: str
    file: str
    line: int
    reason: str
    def __init__(self, package: _Optional[str] = ..., rule: _Optional[str] = ..., file: _Optional[str] = ..., line: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class BuildStep(_message.Message):
    __slots__ = ("progress", "built")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    BUILT_FIELD_NUMBER: _ClassVar[int]
    progress: Progress
    built: Built
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., built: _Optional[_Union[Built, _Mapping]] = ...) -> None: ...

class Built(_message.Message):
    __slots__ = ("imports", "sets")
    IMPORTS_FIELD_NUMBER: _ClassVar[int]
    SETS_FIELD_NUMBER: _ClassVar[int]
    imports: _containers.RepeatedScalarFieldContainer[str]
    sets: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, imports: _Optional[_Iterable[str]] = ..., sets: _Optional[_Iterable[str]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("verb", "item", "done", "total", "detail", "receipt", "bytes", "took", "ended")
    VERB_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    TOOK_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    verb: str
    item: str
    done: int
    total: int
    detail: str
    receipt: Receipt
    bytes: int
    took: int
    ended: bool
    def __init__(self, verb: _Optional[str] = ..., item: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., detail: _Optional[str] = ..., receipt: _Optional[_Union[Receipt, _Mapping]] = ..., bytes: _Optional[int] = ..., took: _Optional[int] = ..., ended: _Optional[bool] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("name", "version", "archive", "bytes", "modules", "licenses", "signatures", "bundles", "offers")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ARCHIVE_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    MODULES_FIELD_NUMBER: _ClassVar[int]
    LICENSES_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    BUNDLES_FIELD_NUMBER: _ClassVar[int]
    OFFERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    archive: str
    bytes: int
    modules: _containers.RepeatedScalarFieldContainer[str]
    licenses: _containers.RepeatedScalarFieldContainer[str]
    signatures: _containers.RepeatedCompositeFieldContainer[Signature]
    bundles: _containers.RepeatedCompositeFieldContainer[Package]
    offers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., archive: _Optional[str] = ..., bytes: _Optional[int] = ..., modules: _Optional[_Iterable[str]] = ..., licenses: _Optional[_Iterable[str]] = ..., signatures: _Optional[_Iterable[_Union[Signature, _Mapping]]] = ..., bundles: _Optional[_Iterable[_Union[Package, _Mapping]]] = ..., offers: _Optional[_Iterable[str]] = ...) -> None: ...

class Signature(_message.Message):
    __slots__ = ("scheme", "verified", "signer", "detail")
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_FIELD_NUMBER: _ClassVar[int]
    SIGNER_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    scheme: str
    verified: bool
    signer: str
    detail: str
    def __init__(self, scheme: _Optional[str] = ..., verified: _Optional[bool] = ..., signer: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("kind", "fault", "message", "retryable", "exception")
    KIND_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    EXCEPTION_FIELD_NUMBER: _ClassVar[int]
    kind: str
    fault: str
    message: str
    retryable: bool
    exception: Exception
    def __init__(self, kind: _Optional[str] = ..., fault: _Optional[str] = ..., message: _Optional[str] = ..., retryable: _Optional[bool] = ..., exception: _Optional[_Union[Exception, _Mapping]] = ...) -> None: ...

class Exception(_message.Message):
    __slots__ = ("type", "message", "stack", "notes", "causes")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    STACK_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    CAUSES_FIELD_NUMBER: _ClassVar[int]
    type: str
    message: str
    stack: _containers.RepeatedScalarFieldContainer[str]
    notes: _containers.RepeatedScalarFieldContainer[str]
    causes: _containers.RepeatedCompositeFieldContainer[Cause]
    def __init__(self, type: _Optional[str] = ..., message: _Optional[str] = ..., stack: _Optional[_Iterable[str]] = ..., notes: _Optional[_Iterable[str]] = ..., causes: _Optional[_Iterable[_Union[Cause, _Mapping]]] = ...) -> None: ...

class Cause(_message.Message):
    __slots__ = ("relation", "exception")
    RELATION_FIELD_NUMBER: _ClassVar[int]
    EXCEPTION_FIELD_NUMBER: _ClassVar[int]
    relation: str
    exception: Exception
    def __init__(self, relation: _Optional[str] = ..., exception: _Optional[_Union[Exception, _Mapping]] = ...) -> None: ...
