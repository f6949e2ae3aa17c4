# The same as ../cloudformation.yaml; tests/deploy/test_aws_terraform.py compares the two.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  tags = { "mailonce:template" = "0.1.0" }
  ses  = "arn:${data.aws_partition.current.partition}:ses:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}"
}

# The ledger. Whoever deletes it makes every mail of the past sendable again: neither "destroy" nor one call does.
resource "aws_dynamodb_table" "ledger" {
  count                       = var.ledger == "DynamoDB" ? 1 : 0
  name                        = "${var.name_prefix}_ledger"
  hash_key                    = "key"
  billing_mode                = "PAY_PER_REQUEST"
  deletion_protection_enabled = true
  tags                        = local.tags

  attribute {
    name = "email"
    type = "S"
  }
  attribute {
    name = "key"
    type = "S"
  }
  attribute {
    name = "month_shard"
    type = "S"
  }
  attribute {
    name = "period"
    type = "S"
  }
  attribute {
    name = "recipient_id"
    type = "S"
  }

  global_secondary_index {
    name            = "by_address"
    hash_key        = "email"
    range_key       = "period"
    projection_type = "KEYS_ONLY"
  }
  global_secondary_index {
    name            = "by_month"
    hash_key        = "month_shard"
    range_key       = "recipient_id"
    projection_type = "KEYS_ONLY"
  }

  point_in_time_recovery {
    enabled = true
  }
  ttl {
    attribute_name = "expires_at"
    enabled        = true
  }
  lifecycle {
    prevent_destroy = true
  }
}

# The provider's events: configuration set -> topic -> queue.
resource "aws_sesv2_configuration_set" "this" {
  configuration_set_name = var.name_prefix
  tags                   = local.tags

  reputation_options {
    reputation_metrics_enabled = true
  }
  sending_options {
    sending_enabled = true
  }
  suppression_options {
    suppressed_reasons = ["BOUNCE", "COMPLAINT"]
  }
}

# Not encrypted at rest: it keeps nothing, and SES may not use the key that AWS manages for SNS.
resource "aws_sns_topic" "events" {
  name = "${var.name_prefix}-events"
  tags = local.tags
}

resource "aws_sns_topic_policy" "events" {
  arn    = aws_sns_topic.events.arn
  policy = data.aws_iam_policy_document.events_topic.json
}

data "aws_iam_policy_document" "events_topic" {
  statement {
    sid       = "OnlyOurConfigurationSet"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.events.arn]
    principals {
      type        = "Service"
      identifiers = ["ses.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "AWS:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
    condition {
      test     = "StringEquals"
      variable = "AWS:SourceArn"
      values   = ["${local.ses}:configuration-set/${var.name_prefix}"]
    }
  }
}

resource "aws_sesv2_configuration_set_event_destination" "events" {
  configuration_set_name = aws_sesv2_configuration_set.this.configuration_set_name
  event_destination_name = "events"
  depends_on             = [aws_sns_topic_policy.events] # SES tries it

  event_destination {
    enabled              = true
    matching_event_types = ["SEND", "DELIVERY_DELAY", "DELIVERY", "BOUNCE", "REJECT", "RENDERING_FAILURE", "COMPLAINT"]
    sns_destination {
      topic_arn = aws_sns_topic.events.arn
    }
  }
}

resource "aws_sqs_queue" "dead_events" {
  name                      = "${var.name_prefix}-events-dead"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
  tags                      = local.tags
}

resource "aws_sqs_queue" "events" {
  name                       = "${var.name_prefix}-events"
  message_retention_seconds  = 1209600
  visibility_timeout_seconds = 120
  sqs_managed_sse_enabled    = true
  tags                       = local.tags
  redrive_policy             = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead_events.arn, maxReceiveCount = 20 })

  # An event that was not read is the only proof of some mail.
  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_sqs_queue_policy" "events" {
  queue_url = aws_sqs_queue.events.url
  policy    = data.aws_iam_policy_document.events_queue.json
}

data "aws_iam_policy_document" "events_queue" {
  statement {
    sid       = "OnlyOurTopic"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.events.arn]
    principals {
      type        = "Service"
      identifiers = ["sns.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_sns_topic.events.arn]
    }
  }
}

resource "aws_sns_topic_subscription" "events" {
  topic_arn            = aws_sns_topic.events.arn
  protocol             = "sqs"
  endpoint             = aws_sqs_queue.events.arn
  raw_message_delivery = true
  depends_on           = [aws_sqs_queue_policy.events]
}

# Alerts of mailonce itself (setting alert_topic), and of CloudWatch.
resource "aws_sns_topic" "alerts" {
  name = "${var.name_prefix}-alerts"
  tags = local.tags
}

resource "aws_sns_topic_policy" "alerts" {
  count  = var.alarms ? 1 : 0
  arn    = aws_sns_topic.alerts.arn
  policy = data.aws_iam_policy_document.alerts_topic.json
}

data "aws_iam_policy_document" "alerts_topic" {
  statement {
    sid       = "OurAlarms"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alerts.arn]
    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "AWS:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_sns_topic_subscription" "alerts_by_email" {
  count     = var.alert_email == "" ? 0 : 1
  topic_arn = aws_sns_topic.alerts.arn
  protocol  = "email"
  endpoint  = var.alert_email
}

resource "aws_cloudwatch_metric_alarm" "events_unread" {
  count               = var.alarms ? 1 : 0
  alarm_name          = "${var.name_prefix}-events-unread"
  alarm_description   = "The oldest event waits for more than an hour: see whether the Dag reconcile_usage_email is unpaused and succeeds."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = aws_sqs_queue.events.name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 2
  threshold           = 3600
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alerts.arn]
}

resource "aws_cloudwatch_metric_alarm" "events_dead" {
  count               = var.alarms ? 1 : 0
  alarm_name          = "${var.name_prefix}-events-dead"
  alarm_description   = "Events could not be read 20 times, and lie in the dead-letter queue for 14 days."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dead_events.name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alerts.arn]
}
