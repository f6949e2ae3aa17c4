"""``mailonce certificate | verify``: a month's proof for an auditor, and whether it still holds."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any

from mailonce.certificate import CertificateBroken, Head, Seal
from mailonce.merkle import Step, proves
from mailonce.terminal import arguments, output
from mailonce.terminal.output import DIFFERENT, DONE, NOT_FOUND, Screen

if TYPE_CHECKING:
    from mailonce.workflow.certifying import Comparison

_CERTIFICATE = """examples:
  mailonce certificate 2026-10                                beside the month's snapshots, as each run does
  mailonce certificate 2026-10 --output october.jsonl

Note the hash that it prints where nobody can change it: whoever can change the file can also seal it anew.

exit codes: 0 done, 1 the ledger has no such month, 2 refused or failed
"""
_VERIFY = """examples:
  mailonce verify october.jsonl                               is it as it was sealed? does the ledger still say so?
  mailonce verify october.jsonl --root 3f9c…                  is it the one whose hash was noted?
  mailonce verify october.jsonl --offline                     without the ledger
  mailonce verify october.jsonl --prove CUST-0042 > one.json  one customer's line, to be shown without the others
  mailonce verify one.json --root 3f9c…                       does that line belong to the certificate?

What became of a mail is often known only later: a difference may be no more than that it was delivered since.

exit codes: 0 it holds, 1 it does not, or the ledger says otherwise now, 2 refused or failed
"""
_MOST_OF_A_PROOF = 1 << 20


def add_to(commands: Any) -> None:
    """Declare the commands and their arguments."""
    certificate = arguments.declare(
        commands, "certificate", help="write a month's certificate: each delivery, its proof, and a hash over the whole",
        epilog=_CERTIFICATE,
    )  # fmt: skip
    certificate.add_argument("period", help="the month, 2026-10")
    arguments.add_campaign(certificate)
    certificate.add_argument(
        "--output", metavar="FILE", help="where to write it; default: beside the month's snapshots"
    )
    arguments.add_limit(certificate, "exceptions")
    certificate.set_defaults(run=_certificate)

    verify = arguments.declare(
        commands, "verify", help="check a certificate, and compare it with the ledger", epilog=_VERIFY
    )
    verify.add_argument("file", help="a certificate, or a proof of one line: a path, or a URI such as s3://…")
    verify.add_argument("--root", metavar="HASH", help="the hash that was noted when it was written")
    verify.add_argument("--offline", action="store_true", help="do not ask the ledger")
    verify.add_argument(
        "--prove", metavar="ID", help="write the proof of this recipient's deliveries, and nothing else"
    )
    arguments.add_limit(verify, "differences")
    verify.set_defaults(run=_verify)


def _certificate(options: argparse.Namespace, screen: Screen) -> int:
    settings = output.load_settings()
    from mailonce.workflow import certifying

    month = {"campaign": options.campaign, "period": options.period}
    with closing(output.open_the_ledger()) as ledger:
        if next(iter(ledger.of_month(**month)), None) is None:
            print("nothing found", file=sys.stderr)
            return NOT_FOUND
        if options.output:
            with output.replacing(options.output) as file:
                certifying.write_certificate(ledger, **month, write=file.write)
            place = options.output
        else:
            place, _ = certifying.keep_certificate(ledger, **month, uri=settings.snapshot_uri)
    # Read again: what is told is what stands in the file.
    exceptions: list[Mapping[str, Any]] = []

    def look(facts: Mapping[str, Any]) -> None:
        if facts["exceptions"] and len(exceptions) < options.limit:
            exceptions.append(facts)

    head, seal = certifying.read_certificate(place, each=look)
    if options.json:
        screen.json({"file": place, **vars(head), **vars(seal), "exceptions": exceptions})
        return DONE
    screen.say(f"{place}\n{_in_words(head, seal)}")
    for facts in exceptions:
        screen.say(f"  {facts['recipient_id']:20} {', '.join(facts['exceptions'])}\n{'':23}key {facts['key']}")
    named = sum(1 for _ in exceptions)
    screen.say(f"hash {seal.root}")
    if named == options.limit:
        screen.say(f"  the first {named} exceptions are named here; all of them stand in the file")
    return DONE


def _verify(options: argparse.Namespace, screen: Screen) -> int:
    from mailonce.workflow.certifying import Comparison, prove

    try:
        if options.prove:
            proved = prove(options.file, options.prove)
            screen.json(proved)
            return DONE if proved else NOT_FOUND
        if (proofs := _proofs(options.file)) is not None:
            return _verify_proofs(proofs, options, screen)
        with closing(Comparison(options.file)) as comparison:
            return _compare(comparison, options, screen)
    except CertificateBroken as broken:
        if options.json:
            screen.json({"holds": False, "why": str(broken)})
        print(f"mailonce: {options.file}: {broken}", file=sys.stderr)
        return DIFFERENT


def _compare(comparison: Comparison, options: argparse.Namespace, screen: Screen) -> int:
    head, seal = comparison.head, comparison.seal
    if options.root and options.root != seal.root:
        raise CertificateBroken(f"its hash is {seal.root}, and not the one that was noted.")
    if not options.json:
        screen.say(f"as it was sealed: {_in_words(head, seal)}\nhash {seal.root}")
    if options.offline:
        if options.json:
            screen.json({"holds": True, **vars(head), **vars(seal)})
        return DONE
    with closing(output.open_the_ledger()) as ledger:
        epoch = ledger.epoch.read().id
        found: Iterator[Mapping[str, Any]] = comparison.differences(ledger)
        named = list(islice(found, options.limit))
        more = sum(1 for _ in found)
        month = (head.campaign, head.period)
        purges = [mark for mark in ledger.privacy.purges() if (mark.campaign, mark.period) == month]
    same_ledger = epoch == head.ledger.get("epoch")
    if options.json:
        told = {"holds": True, **vars(head), **vars(seal), "same_ledger": same_ledger}
        purged = [vars(mark) for mark in purges]
        screen.json({**told, "differences": named, "differences_more": more, "purged": purged})
    else:
        for mark in purges:
            screen.say(str(mark))
        _say_differences(named, more, same_ledger, screen)
    return DONE if same_ledger and not named and not more else DIFFERENT


def _say_differences(named: list[Mapping[str, Any]], more: int, same_ledger: bool, screen: Screen) -> None:
    if not same_ledger:
        screen.say("this is another ledger, or it was adopted anew since")
    for one in named:
        screen.say(f"  {one['recipient_id']:20} {_difference(one)}\n{'':23}key {one['key']}")
    if more:
        screen.say(f"  and {more} more")
    screen.say(
        f"{len(named) + more} differ from what the ledger says now" if named or more else "the ledger says the same"
    )


def _difference(one: Mapping[str, Any]) -> str:
    was, now = one["certified"], one["now"]
    if was is None:
        return f"not in the certificate: {now['state']}"
    if now is None:
        return f"no longer in the ledger: was {was['state']}"
    return "; ".join(f"{name}: {was[name]}, now {now[name]}" for name in was)


def _proofs(place: str) -> list[dict[str, Any]] | None:
    """Return what ``--prove`` wrote; None: this is something else."""
    from mailonce.workflow.certifying import opened

    with opened(place) as file:
        if file.read(1) != b"[":
            return None
        try:
            proofs: list[dict[str, Any]] = json.loads(b"[" + file.read(_MOST_OF_A_PROOF))
        except (ValueError, RecursionError) as error:
            raise CertificateBroken("it is neither a certificate nor a proof.") from error
    if not proofs or not all(isinstance(proof, dict) and proof.get("mailonce") == "proof" for proof in proofs):
        raise CertificateBroken("it is neither a certificate nor a proof.")
    return proofs


def _verify_proofs(proofs: list[dict[str, Any]], options: argparse.Namespace, screen: Screen) -> int:
    for proof in proofs:
        try:
            steps = [Step(**step) for step in proof["steps"]]
            holds = proves(proof["line"].encode(), steps, proof["root"])
            line = json.loads(proof["line"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CertificateBroken("the proof is damaged.") from error
        if not holds or (options.root and options.root != proof["root"]):
            raise CertificateBroken("this line does not belong to the certificate with that hash.")
        if not options.json:
            screen.say(
                f"belongs to the certificate with the hash {proof['root']}: {json.dumps(line, ensure_ascii=False)}"
            )
    if not options.root:
        print("mailonce: compare the hash with the one that was noted: --root HASH", file=sys.stderr)
    if options.json:
        screen.json(
            {"holds": True, "root": proofs[0]["root"], "lines": [json.loads(proof["line"]) for proof in proofs]}
        )
    return DONE


def _in_words(head: Head, seal: Seal) -> str:
    counts: Mapping[str, Any] = seal.counts
    kinds = [f"{number} {name}" for kind in ("states", "fates") for name, number in counts[kind].items()]
    exceptions = ", ".join(f"{number} {name}" for name, number in counts["exceptions"].items()) or "none"
    return (
        f"{head.campaign} {head.period}, as the ledger said at {head.at}: {seal.lines} deliveries, "
        f"{counts['messages']} messages ({', '.join(kinds) or 'none'}). Exceptions: {exceptions}."
    )
