"""Generate customers and their card transactions, some of them fraudulent: `python data/generate.py [YYYY-MM-DD]`.

They end the day before the given date, or before today; the same date gives the same tables. Fraud depends on the
amount compared with the customer's usual amount, how often the card was used recently, the kind of merchant, the hour
and the customer's age; over the months it moves from jewellery to online shops.

To use your own data, replace the two files in `data/raw`, keep these columns, and adapt `features.py`.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CUSTOMERS, TRANSACTIONS, DAYS = 3_000, 200_000, 240
END = np.datetime64(sys.argv[1] if len(sys.argv) > 1 else "today", "D")
START = (END - DAYS).astype("datetime64[us]")
DAY_S = 86_400
MERCHANTS = np.array(["grocery", "fuel", "restaurant", "travel", "electronics", "online", "jewellery", "cash"])
COMMON = np.array([0.30, 0.14, 0.18, 0.05, 0.08, 0.18, 0.02, 0.05])
RISK = np.array([-0.8, -0.4, -0.5, 0.5, 0.7, 0.6, 1.4, 0.9])
DRIFT = np.array([0, 0, 0, 0, 0, 0.9, -0.8, 0])  # what is added to the risk by the last day
RAW = Path(__file__).parent / "raw"


def windows(customer: np.ndarray, second: np.ndarray, amount: np.ndarray, days: int) -> tuple[np.ndarray, np.ndarray]:
    """For rows sorted by customer and time: number and mean amount of the customer's transactions in the last days."""
    key = customer * (10 * DAYS * DAY_S) + second
    first = np.searchsorted(key, key - days * DAY_S, side="left")
    first = np.maximum(first, np.searchsorted(customer, customer, side="left"))
    end = np.searchsorted(key, key, side="left")  # strictly earlier: what happens at the same time is not known yet
    total = np.concatenate([[0.0], np.cumsum(amount)])
    count = end - first
    mean = np.divide(total[end] - total[first], count, out=np.full(len(key), np.nan), where=count > 0)
    return count, mean


def names(customer: np.ndarray) -> np.ndarray:
    return np.char.add("C", np.char.zfill(customer.astype(str), 5))


def moments(second: np.ndarray) -> pa.Array:
    return pa.array(START + second.astype("timedelta64[s]")).cast(pa.timestamp("us", "UTC"))


def customers(rng: np.random.Generator) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """Each customer as known at the start, then later changes of a third of them, each recorded days after it."""
    age = np.clip(rng.normal(44, 15, CUSTOMERS), 18, 90).round()
    income = rng.lognormal(10.5, 0.5, CUSTOMERS).round(-2)
    known = np.where(rng.random(CUSTOMERS) < 0.03, np.nan, income)
    who = rng.choice(CUSTOMERS, CUSTOMERS // 3, replace=False)
    when = rng.integers(1, DAYS * DAY_S, len(who))
    late = rng.integers(0, 10 * DAY_S, len(who))
    first = np.zeros(CUSTOMERS, np.int64)
    table = pa.table(
        {
            "customer_id": names(np.concatenate([np.arange(CUSTOMERS), who])),
            "event_timestamp": moments(np.concatenate([first, when])),
            "created_timestamp": moments(np.concatenate([first, when + late])),
            "age": np.concatenate([age, age[who]]).astype(np.int64),
            "income": pa.array(
                np.concatenate([known, (income[who] * rng.lognormal(0.1, 0.2, len(who))).round(-2)]), from_pandas=True
            ),
        }
    )
    return table, age, income


def transactions(rng: np.random.Generator, age: np.ndarray, income: np.ndarray) -> pa.Table:
    level = rng.normal(3.2, 0.5, CUSTOMERS) + 0.3 * (income / 60_000 - 0.6)
    often = rng.gamma(2, 1, CUSTOMERS)
    customer = np.sort(rng.choice(CUSTOMERS, TRANSACTIONS, p=often / often.sum()))
    busy = 1 + 6 * np.exp(-((np.arange(24) - 15) ** 2) / 30)
    hour = rng.choice(24, TRANSACTIONS, p=busy / busy.sum())
    day = rng.integers(0, DAYS, TRANSACTIONS)
    second = day * DAY_S + hour * 3600 + rng.integers(0, 3600, TRANSACTIONS)
    order = np.lexsort((second, customer))
    customer, second, hour, day = customer[order], second[order], hour[order], day[order]
    merchant = rng.choice(len(MERCHANTS), TRANSACTIONS, p=COMMON)
    risk = RISK[merchant] + DRIFT[merchant] * day / DAYS
    amount = np.exp(level[customer] + 0.15 * day / DAYS + rng.normal(0, 0.8, TRANSACTIONS) + 0.3 * risk).round(2)

    recent, _ = windows(customer, second, amount, 7)
    _, usual = windows(customer, second, amount, 30)
    ratio = np.log(amount / np.where(np.isnan(usual), np.exp(level[customer]), usual))
    score = 1.1 * risk + 1.5 * ratio + 1.3 * (hour < 6) + 0.12 * recent - 0.015 * (age[customer] - 44)
    fraud = rng.random(TRANSACTIONS) < 1 / (1 + np.exp(-(score - 5.3)))
    return pa.table(
        {
            "customer_id": names(customer),
            "event_timestamp": moments(second),
            "amount": amount,
            "merchant_category": MERCHANTS[merchant],
            "hour": hour.astype(np.int64),
            "is_fraud": fraud,
        }
    ).take(np.argsort(second, kind="stable"))


def main() -> None:
    rng = np.random.default_rng(7)
    RAW.mkdir(parents=True, exist_ok=True)
    known, age, income = customers(rng)
    made = transactions(rng, age, income)
    for name, table in {"customers": known, "transactions": made}.items():
        pq.write_table(table, RAW / f"{name}.parquet")
    share = made.column("is_fraud").to_numpy(zero_copy_only=False).mean()
    print(f"{RAW}: {known.num_rows:,} rows of customers, {made.num_rows:,} transactions, {share:.2%} fraudulent")


if __name__ == "__main__":
    main()
