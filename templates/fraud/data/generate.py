"""Generate card transactions, some of them fraudulent: `python data/generate.py`. The same seed gives the same table.

Each row is one transaction with what was known at its moment: the customer, and what that customer did in the 7 and
30 days before it. Nothing of a row is computed from later rows.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CUSTOMERS, TRANSACTIONS, DAYS = 2_000, 100_000, 180
START = np.datetime64("2025-01-01T00:00:00", "us")
DAY_S = 86_400
MERCHANTS = np.array(["grocery", "fuel", "restaurant", "travel", "electronics", "online", "jewellery", "cash"])
COMMON = np.array([0.30, 0.14, 0.18, 0.05, 0.08, 0.18, 0.02, 0.05])
RISK = np.array([-0.8, -0.4, -0.5, 0.5, 0.7, 0.8, 1.2, 0.9])


def windows(customer: np.ndarray, second: np.ndarray, amount: np.ndarray, days: int) -> tuple[np.ndarray, np.ndarray]:
    """For rows sorted by customer and time: count and mean amount of the customer's transactions in the days before."""
    key = customer * (10 * DAYS * DAY_S) + second
    first = np.searchsorted(key, key - days * DAY_S, side="left")
    first = np.maximum(first, np.searchsorted(customer, customer, side="left"))
    end = np.searchsorted(key, key, side="left")  # strictly earlier: what happens at once is not known yet
    total = np.concatenate([[0.0], np.cumsum(amount)])
    count = end - first
    mean = np.divide(total[end] - total[first], count, out=np.full(len(key), np.nan), where=count > 0)
    return count, mean


def main() -> None:
    rng = np.random.default_rng(7)
    age = np.clip(rng.normal(44, 15, CUSTOMERS), 18, 90).round()
    income = rng.lognormal(10.5, 0.5, CUSTOMERS).round(-2)
    income[rng.random(CUSTOMERS) < 0.03] = np.nan  # not told
    level = rng.normal(3.2, 0.5, CUSTOMERS) + 0.3 * (np.nan_to_num(income, nan=36_000) / 60_000 - 0.6)

    customer = np.sort(rng.choice(CUSTOMERS, TRANSACTIONS, p=(w := rng.gamma(2, 1, CUSTOMERS)) / w.sum()))
    hour = rng.choice(24, TRANSACTIONS, p=(h := 1 + 6 * np.exp(-((np.arange(24) - 15) ** 2) / 30)) / h.sum())
    second = rng.integers(0, DAYS, TRANSACTIONS) * DAY_S + hour * 3600 + rng.integers(0, 3600, TRANSACTIONS)
    order = np.lexsort((second, customer))
    customer, second = customer[order], second[order]
    merchant = rng.choice(len(MERCHANTS), TRANSACTIONS, p=COMMON)
    surprise = rng.normal(0, 0.8, TRANSACTIONS) + 0.3 * RISK[merchant]
    amount = np.exp(level[customer] + surprise).round(2)

    recent, _ = windows(customer, second, amount, 7)
    _, usual = windows(customer, second, amount, 30)
    night = (second // 3600 % 24 < 6).astype(float)
    ratio = np.log(amount / np.where(np.isnan(usual), np.exp(level[customer]), usual))
    score = 1.1 * RISK[merchant] + 1.5 * ratio + 1.3 * night + 0.12 * recent - 0.015 * (age[customer] - 44)
    chance = 1 / (1 + np.exp(-(score - 5.3)))
    fraud = rng.random(TRANSACTIONS) < chance

    by_time = np.argsort(second, kind="stable")
    table = pa.table(
        {
            "customer_id": np.char.add("C", np.char.zfill(customer.astype(str), 5)),
            "event_timestamp": START + second.astype("timedelta64[s]"),
            "amount": amount,
            "merchant_category": MERCHANTS[merchant],
            "age": age[customer].astype(np.int64),
            "income": pa.array(income[customer], from_pandas=True),
            "transaction_count_7d": recent,
            "average_transaction_amount_30d": pa.array(usual.round(2), from_pandas=True),
            "is_fraud": fraud,
        }
    ).take(by_time)
    out = Path(__file__).parent / "raw" / "transactions.parquet"
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, out)
    print(f"{out}: {table.num_rows:,} transactions, {fraud.mean():.2%} fraudulent")


if __name__ == "__main__":
    main()
