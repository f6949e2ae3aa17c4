"""The operations on stored e-mail templates."""

from __future__ import annotations

from typing import Any

from .account_operations import Answer, Call, required_text
from .errors import already_exists
from .paging import page_of
from .records import moment_of, timestamp
from .resources import Resources, StoredTemplate
from .templates import checked_content, read_data, render, rendered_message


class TemplateOperations:
    """Each operation takes a call and gives the content of its answer."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    def routes(self) -> list[tuple[str, str, Any]]:
        """Method, path and operation of each."""
        return [
            ("POST", "templates", self.create),
            ("GET", "templates", self.list_all),
            ("GET", "templates/{TemplateName}", self.get),
            ("PUT", "templates/{TemplateName}", self.update),
            ("DELETE", "templates/{TemplateName}", self.delete),
            ("POST", "templates/{TemplateName}/render", self.test_render),
        ]

    def create(self, call: Call) -> Answer:
        """CreateEmailTemplate."""
        name = required_text(call.body, "TemplateName")
        content = checked_content(call.body.get("TemplateContent"))
        with self._resources.lock:
            if name in self._resources.templates:
                raise already_exists(f"Template {name} already exists.")
            self._resources.templates[name] = StoredTemplate(name, content, timestamp())
        return {}

    def list_all(self, call: Call) -> Answer:
        """ListEmailTemplates."""
        with self._resources.lock:
            found = sorted(self._resources.templates.values(), key=lambda template: template.name)
        entries = [
            {"TemplateName": template.name, "CreatedTimestamp": moment_of(template.created_at).timestamp()}
            for template in found
        ]
        page, following = page_of(entries, call.query)
        return {"TemplatesMetadata": page, **following}

    def get(self, call: Call) -> Answer:
        """GetEmailTemplate."""
        found = self._resources.template(call.names["TemplateName"])
        return {"TemplateName": found.name, "TemplateContent": found.content}

    def update(self, call: Call) -> Answer:
        """UpdateEmailTemplate."""
        content = checked_content(call.body.get("TemplateContent"))
        self._resources.template(call.names["TemplateName"]).content = content
        return {}

    def delete(self, call: Call) -> Answer:
        """DeleteEmailTemplate."""
        with self._resources.lock:
            self._resources.template(call.names["TemplateName"])
            del self._resources.templates[call.names["TemplateName"]]
        return {}

    def test_render(self, call: Call) -> Answer:
        """TestRenderEmailTemplate. A variable that is missing from the data is a BadRequestException."""
        content = self._resources.template(call.names["TemplateName"]).content
        data = read_data(required_text(call.body, "TemplateData"))
        return {"RenderedTemplate": rendered_message(render(content, data))}
