# Who may do what: tests/deploy/test_aws_permissions.py holds each policy to the calls that the code makes.

resource "aws_iam_policy" "sender" {
  name        = "${var.name_prefix}-sender-${data.aws_region.current.name}"
  description = "For workers that run preflight, snapshot, deliver and report."
  policy      = data.aws_iam_policy_document.sender.json
}

resource "aws_iam_role_policy_attachment" "sender" {
  count      = var.worker_role == "" ? 0 : 1
  role       = var.worker_role
  policy_arn = aws_iam_policy.sender.arn
}

data "aws_iam_policy_document" "sender" {
  statement {
    sid     = "Send"
    actions = ["ses:SendEmail"]
    resources = [
      "${local.ses}:identity/${var.sender_identity}",
      "${local.ses}:identity/*@${var.sender_identity}",
      "${local.ses}:configuration-set/${var.name_prefix}",
      "${local.ses}:template/${var.name_prefix}-*",
    ]
    condition {
      test     = "StringEquals"
      variable = "ses:FromAddress"
      values   = var.sender_addresses
    }
  }
  statement {
    sid       = "TryTemplates"
    actions   = ["ses:TestRenderEmailTemplate"]
    resources = ["${local.ses}:template/${var.name_prefix}-*"]
  }
  statement {
    sid       = "AskWhoIsSuppressed"
    actions   = ["ses:GetAccount", "ses:GetSuppressedDestination", "ses:ListSuppressedDestinations"]
    resources = ["*"]
  }
  dynamic "statement" {
    for_each = aws_dynamodb_table.ledger
    content {
      sid     = "Ledger"
      actions = ["dynamodb:BatchGetItem", "dynamodb:DescribeTable", "dynamodb:Query", "dynamodb:UpdateItem"]
      resources = [
        statement.value.arn,
        "${statement.value.arn}/index/*",
      ]
    }
  }
  dynamic "statement" {
    for_each = aws_s3_bucket.snapshots
    content {
      sid       = "Snapshots"
      actions   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
      resources = ["${statement.value.arn}/snapshots/*"]
    }
  }
  dynamic "statement" {
    for_each = aws_s3_bucket.snapshots
    content {
      sid       = "FindSnapshots"
      actions   = ["s3:ListBucket"]
      resources = [statement.value.arn]
      condition {
        test     = "StringLike"
        variable = "s3:prefix"
        values   = ["snapshots", "snapshots/*"]
      }
    }
  }
  dynamic "statement" {
    for_each = aws_s3_bucket.snapshots
    content {
      sid       = "FindTheBucket"
      actions   = ["s3:GetBucketLocation"]
      resources = [statement.value.arn]
    }
  }
  statement {
    sid       = "TellAlerts"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alerts.arn]
  }
}

resource "aws_iam_policy" "reconciler" {
  name        = "${var.name_prefix}-reconciler-${data.aws_region.current.name}"
  description = "For workers that run reconcile_usage_email."
  policy      = data.aws_iam_policy_document.reconciler.json
}

resource "aws_iam_role_policy_attachment" "reconciler" {
  count      = var.reconciler_role == "" ? 0 : 1
  role       = var.reconciler_role
  policy_arn = aws_iam_policy.reconciler.arn
}

data "aws_iam_policy_document" "reconciler" {
  statement {
    sid       = "ReadEvents"
    actions   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
    resources = [aws_sqs_queue.events.arn]
  }
  dynamic "statement" {
    for_each = aws_dynamodb_table.ledger
    content {
      sid     = "Ledger"
      actions = ["dynamodb:BatchGetItem", "dynamodb:DescribeTable", "dynamodb:Query", "dynamodb:UpdateItem"]
      resources = [
        statement.value.arn,
        "${statement.value.arn}/index/*",
      ]
    }
  }
  dynamic "statement" {
    for_each = aws_s3_bucket.snapshots
    content {
      sid       = "SetMessagesAside"
      actions   = ["s3:AbortMultipartUpload", "s3:PutObject"]
      resources = ["${statement.value.arn}/snapshots/events/*"]
    }
  }
  dynamic "statement" {
    for_each = aws_s3_bucket.snapshots
    content {
      sid       = "FindTheBucket"
      actions   = ["s3:GetBucketLocation"]
      resources = [statement.value.arn]
    }
  }
  statement {
    sid       = "TellAlerts"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alerts.arn]
  }
}

resource "aws_iam_policy" "page" {
  count       = var.ledger == "DynamoDB" || var.snapshot_bucket ? 1 : 0
  name        = "${var.name_prefix}-page-${data.aws_region.current.name}"
  description = "For the api-server, which serves the page, and for people at the terminal tool. A decision is one UpdateItem."
  policy      = data.aws_iam_policy_document.page.json
}

resource "aws_iam_role_policy_attachment" "page" {
  count      = var.page_role != "" && (var.ledger == "DynamoDB" || var.snapshot_bucket) ? 1 : 0
  role       = var.page_role
  policy_arn = aws_iam_policy.page[0].arn
}

data "aws_iam_policy_document" "page" {
  dynamic "statement" {
    for_each = aws_dynamodb_table.ledger
    content {
      sid     = "Ledger"
      actions = ["dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:UpdateItem"]
      resources = [
        statement.value.arn,
        "${statement.value.arn}/index/*",
      ]
    }
  }
  dynamic "statement" {
    for_each = aws_dynamodb_table.ledger
    content {
      sid     = "LookThroughTheLedger"
      actions = ["dynamodb:Scan"]
      resources = [
        statement.value.arn,
        "${statement.value.arn}/index/by_month",
      ]
    }
  }
  dynamic "statement" {
    for_each = aws_s3_bucket.snapshots
    content {
      sid       = "ReadSnapshots"
      actions   = ["s3:GetObject"]
      resources = ["${statement.value.arn}/snapshots/*"]
    }
  }
  dynamic "statement" {
    for_each = aws_s3_bucket.snapshots
    content {
      sid       = "FindSnapshots"
      actions   = ["s3:ListBucket"]
      resources = [statement.value.arn]
      condition {
        test     = "StringLike"
        variable = "s3:prefix"
        values   = ["snapshots", "snapshots/*"]
      }
    }
  }
}

resource "aws_iam_policy" "doctor" {
  name        = "${var.name_prefix}-doctor-${data.aws_region.current.name}"
  description = "Questions of the doctor and of preflight, beside the sender's policy. It changes nothing."
  policy      = data.aws_iam_policy_document.doctor.json
}

resource "aws_iam_role_policy_attachment" "doctor" {
  count      = var.worker_role == "" ? 0 : 1
  role       = var.worker_role
  policy_arn = aws_iam_policy.doctor.arn
}

data "aws_iam_policy_document" "doctor" {
  statement {
    sid     = "AskSes"
    actions = ["ses:GetConfigurationSet", "ses:GetConfigurationSetEventDestinations", "ses:GetEmailIdentity"]
    resources = [
      "${local.ses}:configuration-set/${var.name_prefix}",
      "${local.ses}:identity/*",
    ]
  }
  statement {
    sid       = "AskForTheAccount"
    actions   = ["ses:GetAccount"]
    resources = ["*"]
  }
  statement {
    sid       = "AskForTheTopic"
    actions   = ["sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic"]
    resources = [aws_sns_topic.events.arn]
  }
  statement {
    sid     = "AskForTheQueues"
    actions = ["sqs:GetQueueAttributes"]
    resources = [
      aws_sqs_queue.events.arn,
      aws_sqs_queue.dead_events.arn,
    ]
  }
  dynamic "statement" {
    for_each = aws_dynamodb_table.ledger
    content {
      sid       = "AskForTheTable"
      actions   = ["dynamodb:DescribeContinuousBackups", "dynamodb:DescribeTimeToLive"]
      resources = [statement.value.arn]
    }
  }
  dynamic "statement" {
    for_each = var.worker_role == "" ? [] : [var.worker_role]
    content {
      sid     = "AskWhatTheRoleMay"
      actions = ["iam:GetRole", "iam:SimulatePrincipalPolicy"]
      resources = [
        "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:role/${statement.value}",
        "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:role/*/${statement.value}",
      ]
    }
  }
}
