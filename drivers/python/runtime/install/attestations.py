"""Checks attestations with pypi-attestations, in a process of its own: the tool's packages are no others' business.

Started as `python3 -I -S attestations.py DIRECTORY`, the tool being installed there. On stdin is a JSON object: by name, the archive's file name and digest
and its provenance. On stdout comes one with what was found: by name, a verified signature or {"wrong": ...}. It needs no network: the
roots of trust come with the tool.
"""

import json
import sys


def check(file, digest, provenance):
    from pydantic import ValidationError
    from pypi_attestations import AttestationError, Distribution, Provenance

    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256":
        return {"detail": f"there is an attestation, and it is about sha256, of which the lock has none but {algorithm}"}
    signers, kinds = set(), set()
    try:
        bundles = Provenance.model_validate_json(provenance).attestation_bundles
        distribution = Distribution(name=file, digest=value)
        for bundle in bundles:
            for attestation in bundle.attestations:
                kind, _ = attestation.verify(bundle.publisher, distribution, offline=True)
                kinds.add(kind)
            signers.add(signer(bundle.publisher))
    except (AttestationError, ValidationError, ValueError) as error:
        return {"wrong": str(error)[:2000]}
    if not kinds:
        return {"wrong": "the provenance has no attestation in it"}
    return {"verified": True, "signer": ", ".join(sorted(signers)), "detail": ", ".join(sorted(kinds))}


def signer(publisher):
    told = publisher.model_dump(exclude_none=True)
    return " ".join(str(told[key]) for key in ("kind", "repository", "workflow", "workflow_filepath", "email") if told.get(key))


if __name__ == "__main__":
    sys.path.append(sys.argv[1])
    print(json.dumps({name: check(**asked) for name, asked in json.load(sys.stdin).items()}))
