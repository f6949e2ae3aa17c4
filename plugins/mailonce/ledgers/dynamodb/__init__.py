"""The DynamoDB ledger: one table, one conditional write a step."""

from mailonce.ledgers.dynamodb.ledger import DynamoDBLedger

__all__ = ["DynamoDBLedger"]
