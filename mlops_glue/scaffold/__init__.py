"""What glue writes into a project: what it infers and plans, renders, records, merges and takes back."""
