from __future__ import annotations

import dataclasses
import json
import os
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailonce.errors import InvalidInput
from mailonce.keys import ExpressionKey
from mailonce.messages.rows import read_row
from mailonce.workflow.snapshot import MOST_CHUNKS, Snapshot
from mailonce.workflow.snapshot_writer import rows_per_chunk
from sandbox.aws import LocalAws


def home(snapshot: Snapshot) -> Path:
    return Path(snapshot.uri.removeprefix("file://"))


def ids(snapshot: Snapshot) -> list[str]:
    return [planned.row.recipient_id for planned in snapshot.rows()]


def rejected(snapshot: Snapshot) -> dict[str, str]:
    return {reject["row"]: reject["field"] for reject in snapshot.rejects()}


class TestRoundTrip:
    def test_rows_come_back_as_they_were_with_the_keys_they_will_be_sent_under(
        self, write: Any, make_row: Any, maker: Any
    ) -> None:
        rows = [
            make_row(1, total=Decimal("10.50"), at=datetime(2026, 10, 1, tzinfo=timezone.utc), lines=[{"a": None}]),
            make_row("C-2", name="Ünïcødé \u2028 \r\n \x00 \x85 line", EMAIL=" ben@EXAMPLE.com"),
        ]
        written = write(*rows)
        planned = list(Snapshot(written.uri).rows())
        assert [each.row for each in planned] == [read_row(row) for row in rows]
        assert [each.key for each in planned] == [maker.delivery(read_row(row)).key for row in rows]

    def test_the_folder_says_what_it_is(self, write: Any, make_row: Any, maker: Any, tmp_path: Path) -> None:
        snapshot = write(make_row(), maker=dataclasses.replace(maker, edition="corrected"))
        assert home(snapshot).parent == tmp_path / "usage" / "2026-10" / "corrected"
        manifest = snapshot.manifest
        assert (manifest.campaign, manifest.period, manifest.edition) == ("usage", "2026-10", "corrected")

    def test_the_same_content_is_the_same_snapshot_and_is_left_alone(self, write: Any, make_row: Any) -> None:
        first = write(make_row(1), make_row(2, email="bad"))
        files = {file: (file.stat().st_ino, file.stat().st_mtime_ns) for file in home(first).iterdir()}
        assert len(files) == 3
        again = write(make_row(1), make_row(2, email="bad"))
        assert again.uri == first.uri
        assert {file: (file.stat().st_ino, file.stat().st_mtime_ns) for file in home(again).iterdir()} == files

    @pytest.mark.parametrize(
        "change", [{"units": 4}, {"email": "ben@example.com"}, {"recipient_id": "C-2"}, {"more": None}]
    )
    def test_other_content_is_another_snapshot(self, write: Any, make_row: Any, change: dict[str, Any]) -> None:
        assert write(make_row()).uri != write({**make_row(), **change}).uri

    def test_other_rejects_are_another_snapshot(self, write: Any, make_row: Any) -> None:
        first, second = (write(make_row(), only=[missing]) for missing in ("C-8", "C-9"))
        assert first.manifest.chunks == second.manifest.chunks == ()
        assert (rejected(first), rejected(second)) == ({"C-8": "recipients"}, {"C-9": "recipients"})

    def test_an_empty_result(self, write: Any) -> None:
        snapshot = write()
        assert (ids(snapshot), rejected(snapshot)) == ([], {})
        assert (snapshot.manifest.recipients, snapshot.manifest.chunks) == (0, ())


class TestChunks:
    @pytest.mark.parametrize(
        ("recipients", "asked", "size"),
        [
            (0, None, 1), (1, None, 1), (1000, None, 1), (1001, None, 2), (2000, None, 2), (2001, None, 3),
            (1_000_000, None, 1000), (1_000_001, None, 1001),
            (10, 3, 3), (1_000_000, 5000, 5000), (1_000_000, 1, 1000), (1001, 1, 2), (0, 7, 7),
        ],
    )  # fmt: skip
    def test_so_many_recipients_a_task(self, recipients: int, asked: int | None, size: int) -> None:
        assert rows_per_chunk(recipients, asked) == size

    @given(st.integers(0, 10**8), st.none() | st.integers(1, 100_000))
    def test_the_map_is_never_longer_than_airflow_takes(self, recipients: int, asked: int | None) -> None:
        size = rows_per_chunk(recipients, asked)
        assert -(-recipients // size) <= MOST_CHUNKS < 1024
        assert size >= (asked or 1)

    @pytest.mark.parametrize(
        ("rows", "asked", "sizes"), [(5, None, [1] * 5), (5, 2, [2, 2, 1]), (4, 2, [2, 2]), (3, 9, [3])]
    )
    def test_chunks_hold_everybody_once_in_order(
        self, write: Any, make_row: Any, rows: int, asked: int | None, sizes: list[int]
    ) -> None:
        snapshot = write(*(make_row(number) for number in range(rows)), recipients_per_task=asked)
        pieces = [snapshot.chunk(index) for index in range(len(sizes))]
        assert [len(piece) for piece in pieces] == [chunk.rows for chunk in snapshot.manifest.chunks] == sizes
        assert [each.row.recipient_id for piece in pieces for each in piece] == [str(number) for number in range(rows)]

    def test_more_recipients_than_tasks(self, write: Any, make_row: Any) -> None:
        snapshot = write(*(make_row(number) for number in range(1001)))
        assert len(snapshot.manifest.chunks) == 501
        assert ids(snapshot) == [str(number) for number in range(1001)]

    @pytest.mark.parametrize("index", [-1, 2, 99])
    def test_a_chunk_that_is_not_there(self, write: Any, make_row: Any, index: int) -> None:
        snapshot = write(make_row(1), make_row(2))
        with pytest.raises(InvalidInput, match=f"^chunk: {index} is not one of the 2 chunks"):
            snapshot.chunk(index)


class TestRejects:
    def test_each_is_named_with_field_reason_and_remedy_and_stops_nobody(self, write: Any, make_row: Any) -> None:
        snapshot = write(
            make_row("good"),
            make_row("address", email="nobody"),
            make_row("null", units=None),
            {"recipient_id": "lacks units", "email": "a@b.co"},
            make_row("nan", units=float("nan")),
            make_row("bytes", units=b"3"),
            make_row("header", units="3\r\nBcc: eve@example.com"),
            make_row("x" * 257),
            make_row("also good"),
        )
        assert ids(snapshot) == ["good", "also good"]
        text, header = "template usage/body.txt.j2", "header X-Units"
        assert rejected(snapshot) == {
            "address": "email", "null": text, "lacks units": text, "nan": "units", "bytes": "units",
            "header": header, "x" * 257: "recipient_id",
        }  # fmt: skip
        assert all(reject["reason"] and reject["remedy"] for reject in snapshot.rejects())
        assert (snapshot.manifest.query_rows, snapshot.manifest.rejects, snapshot.manifest.recipients) == (9, 7, 2)

    def test_rows_without_a_usable_id_are_named_by_number_and_are_no_twins(self, write: Any, make_row: Any) -> None:
        snapshot = write(
            make_row(None), make_row(None), make_row(""), make_row("  "), make_row("C\n1"), make_row("\ud800"),
            make_row("\ud800"), make_row("None"),
        )  # fmt: skip
        assert ids(snapshot) == ["None"]
        numbers = {f"number {number}" for number in range(1, 7)}
        assert numbers <= set(rejected(snapshot))
        assert set(rejected(snapshot).values()) == {"recipient_id"}

    def test_of_twins_none_is_mailed(self, write: Any, make_row: Any) -> None:
        snapshot = write(
            make_row(7), make_row("C-2"), make_row("7", units=4), make_row(" 7 ", email="bad"), make_row("C-3")
        )
        assert ids(snapshot) == ["C-2", "C-3"]
        (reject,) = snapshot.rejects()
        assert (reject["row"], reject["field"]) == ("7", "recipient_id")
        assert "3 rows for this id" in reject["reason"]

    def test_two_ids_spelled_differently_are_one_customer(self, write: Any, make_row: Any) -> None:
        snapshot = write(make_row("Andr\u00e9"), make_row("Andre\u0301"))
        assert ids(snapshot) == ["Andr\u00e9"]
        assert rejected(snapshot) == {"Andre\u0301": "key"}

    def test_rows_with_one_key_are_one_mail(self, write: Any, make_row: Any, maker: Any) -> None:
        by_invoice = dataclasses.replace(maker, recipe=ExpressionKey("invoice"))
        snapshot = write(*(make_row(number, invoice="I-1") for number in (1, 2)), make_row(3), maker=by_invoice)
        assert ids(snapshot) == ["1"]
        assert rejected(snapshot) == {"2": "key", "3": "key_expression"}

    def test_suppressed_addresses_are_left_out_by_name(self, write: Any, make_row: Any) -> None:
        asked: list[list[str]] = []

        def suppressed(addresses: Any) -> dict[str, str]:
            asked.append(list(addresses))
            return {"bob@example.com": "hard bounce: 550 user unknown"}

        rows = [make_row("C-1"), make_row("C-2", email="Bob@example.com"), make_row("C-3", email="bad")]
        snapshot = write(*rows, suppressed=suppressed)
        assert [row.row.recipient_id for row in snapshot.rows()] == ["C-1"]
        kinds = {reject["row"]: (reject["kind"], reject["reason"]) for reject in snapshot.rejects()}
        assert kinds["C-2"][0] == "suppressed"
        assert "550 user unknown" in kinds["C-2"][1]
        assert kinds["C-3"][0] == "invalid"
        assert snapshot.manifest.recipients == 1
        assert asked == [["ann@example.com", "Bob@example.com"]], "only those that could be mailed are asked about"

    def test_only_those_asked_for(self, write: Any, make_row: Any) -> None:
        rows = [make_row(1), make_row("C-2"), make_row("C-3", email="bad"), make_row("C-4")]
        snapshot = write(*rows, only=["1", "C-3", "C-9", "C-8"])
        assert ids(snapshot) == ["1"]
        assert rejected(snapshot) == {"C-3": "email", "C-8": "recipients", "C-9": "recipients"}
        assert snapshot.manifest.query_rows == 4


class TestTampering:
    @pytest.mark.parametrize(
        ("file", "old", "new"),
        [
            ("rows.jsonl", b"ann@example.com", b"eve@example.com"),
            ("rows.jsonl", b'"units":3', b'"units":4'),
            ("rows.jsonl", b"\n", b""),
            ("rejects.jsonl", b"C-9", b"C-8"),
            ("rejects.jsonl", b"\n", b"\nnot json\n"),
            ("manifest.json", b'"rejects":1', b'"rejects":0'),
            ("manifest.json", b"}", b"} "),
        ],
    )
    def test_a_changed_file_is_refused(self, write: Any, make_row: Any, file: str, old: bytes, new: bytes) -> None:
        uri = write(make_row(1), make_row("C-9", email="bad")).uri
        path = home(Snapshot(uri)) / file
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new))
        with pytest.raises(InvalidInput, match=f"^snapshot: {file} at .* is not as it was written"):
            read_everything(uri)

    @pytest.mark.parametrize("file", ["rows.jsonl", "rejects.jsonl", "manifest.json"])
    def test_a_damaged_snapshot_is_written_anew(self, write: Any, make_row: Any, file: str) -> None:
        rows = [make_row(1), make_row("C-9", email="bad")]
        snapshot = write(*rows)
        for damage in (os.unlink, lambda path: path.write_text("{}")):
            damage(home(snapshot) / file)
            with pytest.raises(InvalidInput):
                read_everything(snapshot.uri)
            assert write(*rows).uri == snapshot.uri
            read_everything(snapshot.uri)

    def test_a_chunk_is_checked_on_its_own(self, write: Any, make_row: Any) -> None:
        snapshot = write(make_row(1), make_row(2))
        path = home(snapshot) / "rows.jsonl"
        path.write_bytes(path.read_bytes().replace(b'"units":3', b'"units":4', 1))
        assert [planned.row.recipient_id for planned in snapshot.chunk(1)] == ["2"]
        with pytest.raises(InvalidInput, match="not as it was written"):
            snapshot.chunk(0)

    def test_a_manifest_put_elsewhere_is_refused(self, write: Any, make_row: Any, tmp_path: Path) -> None:
        elsewhere = tmp_path / ("0" * 20)
        elsewhere.mkdir(parents=True)
        (elsewhere / "manifest.json").write_bytes((home(write(make_row())) / "manifest.json").read_bytes())
        with pytest.raises(InvalidInput, match=r"manifest.json at .* is not as it was written"):
            Snapshot(str(elsewhere))

    def test_one_that_does_not_exist(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match=r"there is none at .*do all workers see the folder") as caught:
            Snapshot(f"file://{tmp_path}/nosuch")
        assert "Clear the task snapshot" in caught.value.remedy


def read_everything(uri: str) -> None:
    snapshot = Snapshot(uri)
    list(snapshot.rows())
    list(snapshot.rejects())


@pytest.mark.dynamodb
def test_in_s3_through_an_airflow_connection(
    local_aws: LocalAws, connect: Any, monkeypatch: pytest.MonkeyPatch, write: Any, make_row: Any
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    connect(
        "aws_default",
        conn_type="aws",
        login="local",
        password="local",
        extra={"region_name": "eu-central-1", "endpoint_url": local_aws.url},
    )
    bucket = local_aws.client("s3")
    bucket.create_bucket(Bucket="mail", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    snapshot = write(make_row(1), make_row(2), make_row("C-9", email="bad"), uri="s3://aws_default@mail/snapshots")
    names = [found["Key"] for found in bucket.list_objects_v2(Bucket="mail")["Contents"]]
    assert sorted(name.rpartition("/")[2] for name in names) == ["manifest.json", "rejects.jsonl", "rows.jsonl"]
    again = Snapshot(snapshot.uri)
    assert (ids(again), rejected(again)) == (["1", "2"], {"C-9": "email"})
    assert [planned.row.recipient_id for planned in again.chunk(1)] == ["2"]
    assert json.loads(bucket.get_object(Bucket="mail", Key=names[0])["Body"].read())["query_rows"] == 3
