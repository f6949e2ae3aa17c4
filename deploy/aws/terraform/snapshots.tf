# Snapshots: personal data, and the folder "ledger", by which a ledger that has forgotten is found out.

resource "aws_s3_bucket" "snapshots" {
  count  = var.snapshot_bucket ? 1 : 0
  bucket = "${var.name_prefix}-snapshots-${data.aws_caller_identity.current.account_id}-${data.aws_region.current.name}"
  tags   = local.tags

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "snapshots" {
  count  = var.snapshot_bucket ? 1 : 0
  bucket = aws_s3_bucket.snapshots[0].id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_ownership_controls" "snapshots" {
  count  = var.snapshot_bucket ? 1 : 0
  bucket = aws_s3_bucket.snapshots[0].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "snapshots" {
  count                   = var.snapshot_bucket ? 1 : 0
  bucket                  = aws_s3_bucket.snapshots[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "snapshots" {
  count  = var.snapshot_bucket ? 1 : 0
  bucket = aws_s3_bucket.snapshots[0].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "snapshots" {
  count  = var.snapshot_bucket ? 1 : 0
  bucket = aws_s3_bucket.snapshots[0].id

  rule {
    id     = "rubbish"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
    noncurrent_version_expiration {
      noncurrent_days = 90
    }
  }

  dynamic "rule" {
    for_each = var.snapshot_days > 0 ? [var.snapshot_days] : []
    content {
      id     = "snapshots"
      status = "Enabled"
      filter {
        prefix = "snapshots/${var.campaign}/"
      }
      expiration {
        days = rule.value
      }
    }
  }
}

resource "aws_s3_bucket_policy" "snapshots" {
  count  = var.snapshot_bucket ? 1 : 0
  bucket = aws_s3_bucket.snapshots[0].id
  policy = data.aws_iam_policy_document.snapshots[0].json
}

data "aws_iam_policy_document" "snapshots" {
  count = var.snapshot_bucket ? 1 : 0

  statement {
    sid       = "EncryptedOnTheWay"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.snapshots[0].arn, "${aws_s3_bucket.snapshots[0].arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}
