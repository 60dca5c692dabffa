"""A project with a feature store: fifty customers, six hundred events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

START = pd.Timestamp("2026-01-01", tz="UTC")


TRANSFORM = """
import pandas as pd

def build(tables):
    events = tables["events"].sort_values(["customer_id", "at"], kind="stable")
    by = events.groupby("customer_id")["amount"]
    return {"spent": events[["customer_id", "at"]].assign(before=by.cumsum() - events["amount"])}
"""


SPENT = """
spent = FeatureView(
    name="spent", entities=[entity_customer_id], ttl=timedelta(0), schema=[Field(name="before", dtype=Float64)],
    source=FileSource(name="spent", path="../artifacts/featurize/tables/spent.parquet", timestamp_field="at"),
)
"""


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fifty customers whose balance, told anew every ten days, tells the target of 600 events."""
    rng = np.random.default_rng(0)
    known = []
    for day in range(0, 60, 10):
        known.append(
            pd.DataFrame(
                {
                    "customer_id": np.arange(50),
                    "at": START + pd.Timedelta(days=day),
                    "balance": rng.normal(size=50).round(3),
                    "town": rng.choice(["Ulm", "Bonn"], 50),
                }
            )
        )
    customers = pd.concat(known, ignore_index=True)
    seconds = np.sort(rng.choice(60 * 86_400, 600, replace=False))
    events = pd.DataFrame({"customer_id": rng.integers(0, 50, 600), "at": START + pd.to_timedelta(seconds, unit="s")})
    events["amount"] = rng.gamma(2, 10, 600).round(2)
    seen = pd.merge_asof(events, customers.sort_values("at"), on="at", by="customer_id")
    events["y"] = np.where(seen["balance"] + 0.5 * rng.normal(size=600) > 0, "yes", "no")
    return customers, events


def edit(path: Path, *pairs: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new, 1)
    path.write_text(text)


DEFINITIONS, CONFIG = "feature_repo/definitions.py", "glue.yaml"
