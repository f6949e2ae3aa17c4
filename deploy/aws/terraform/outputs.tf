output "settings" {
  description = "The environment of every component of Airflow, a line each."
  value = join("\n", concat(
    [
      "AIRFLOW__MAILONCE__SENDER=${var.sender_addresses[0]}",
      "AIRFLOW__MAILONCE__CONFIGURATION_SET=${aws_sesv2_configuration_set.this.configuration_set_name}",
      "AIRFLOW__MAILONCE__EVENTS_QUEUE_URL=${aws_sqs_queue.events.url}",
      "AIRFLOW__MAILONCE__ALERT_TOPIC=${aws_sns_topic.alerts.arn}",
    ],
    [for table in aws_dynamodb_table.ledger : "AIRFLOW__MAILONCE__LEDGER_TABLE=${table.name}"],
    [for table in aws_dynamodb_table.ledger : "AIRFLOW_CONN_MAILONCE_LEDGER=${local.connection}"],
    [for bucket in aws_s3_bucket.snapshots : "AIRFLOW__MAILONCE__SNAPSHOT_URI=s3://aws_default@${bucket.id}/snapshots"],
    ["AIRFLOW_CONN_AWS_DEFAULT=${local.connection}"],
  ))
}

output "dead_events_queue_url" {
  description = "Where to look when the alarm of the dead-letter queue rings."
  value       = aws_sqs_queue.dead_events.url
}

output "sender_policy_arn" {
  description = "To attach to the role of workers that send."
  value       = aws_iam_policy.sender.arn
}

output "reconciler_policy_arn" {
  description = "To attach to the role of workers that run reconcile_usage_email."
  value       = aws_iam_policy.reconciler.arn
}

output "page_policy_arn" {
  description = "To attach to the role of the api-server."
  value       = one(aws_iam_policy.page[*].arn)
}

output "doctor_policy_arn" {
  description = "To attach to the role of workers beside the sender's."
  value       = aws_iam_policy.doctor.arn
}

locals {
  connection = jsonencode({ conn_type = "aws", extra = { region_name = data.aws_region.current.name } })
}
