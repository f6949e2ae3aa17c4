variable "name_prefix" {
  type        = string
  default     = "mailonce"
  description = "Begins the name of everything that is made. One prefix for each ledger, so another one for staging."

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}$", var.name_prefix))
    error_message = "Use 2 to 20 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "sender_identity" {
  type        = string
  description = "The identity in SES that mails are sent from, verified already, such as example.com."
}

variable "sender_addresses" {
  type        = list(string)
  description = "The From addresses that may be used, without names; the first becomes the setting \"sender\"."

  validation {
    condition     = length(var.sender_addresses) > 0
    error_message = "Name at least one address."
  }
}

variable "ledger" {
  type        = string
  default     = "DynamoDB"
  description = "Where the ledger is kept: DynamoDB or PostgreSQL. For PostgreSQL no table is made here."

  validation {
    condition     = contains(["DynamoDB", "PostgreSQL"], var.ledger)
    error_message = "Use DynamoDB or PostgreSQL."
  }
}

variable "snapshot_bucket" {
  type        = bool
  default     = true
  description = "Whether a bucket for snapshots is made; not needed where all workers share a folder."
}

variable "campaign" {
  type        = string
  default     = "monthly_usage"
  description = "Whose snapshots are deleted after snapshot_days."
}

variable "snapshot_days" {
  type        = number
  default     = 0
  description = "Days after which the campaign's snapshots, reports and certificates are deleted; 0 keeps them for ever."
}

variable "alert_email" {
  type        = string
  default     = ""
  description = "An address that alerts are mailed to, by SNS; it has to confirm. Empty: subscribe whom you like later."
}

variable "alarms" {
  type        = bool
  default     = true
  description = "Whether CloudWatch watches for events that nobody reads and for messages that nobody can read."
}

variable "worker_role" {
  type        = string
  default     = ""
  description = "Name (no ARN, no path) of the role of the workers that send. Empty: attach the policies yourself."
}

variable "reconciler_role" {
  type        = string
  default     = ""
  description = "Name of the role of the workers that run reconcile_usage_email. May be the same role."
}

variable "page_role" {
  type        = string
  default     = ""
  description = "Name of the role of the api-server, which serves the page. May be the same role."
}
