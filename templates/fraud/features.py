"""The features of this project: raw tables in, feature tables out. `features.transform` in glue.yaml names `build`."""

import pandas as pd

AFTER = pd.Timedelta(1, "us")  # a transaction is known after its moment; the request that asks about it comes at it


def build(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """How each customer stood right after each transaction: what the next one finds, and what is served until then."""
    events = tables["transactions"].sort_values(["customer_id", "event_timestamp"], kind="stable")
    amounts = events.set_index("event_timestamp").groupby("customer_id")["amount"]
    made = events[["customer_id"]].assign(
        event_timestamp=events["event_timestamp"] + AFTER,
        transaction_count_7d=amounts.rolling("7D").count().astype("int64").to_numpy(),
        average_transaction_amount_30d=amounts.rolling("30D").mean().to_numpy(),
    )
    made = made.drop_duplicates(["customer_id", "event_timestamp"], keep="last")  # of one moment: with all of them
    return {"transaction_features": made}
