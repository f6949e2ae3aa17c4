"""What every page must have for whoever uses a keyboard, a screen reader, a telephone, or Airflow's dark mode."""

from __future__ import annotations

from playwright.sync_api import ConsoleMessage, Page

_FAULTS = """() => {
  const faults = [];
  const fault = (what, element) => faults.push(`${what}: ${element.outerHTML.slice(0, 160)}`);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const named = (element) => (element.getAttribute("aria-label") || element.textContent).trim();

  if (!document.documentElement.lang) faults.push("the page says no language");
  if (all("h1").length !== 1) faults.push(`${all("h1").length} h1`);
  if (all("main").length !== 1) faults.push(`${all("main").length} main`);
  let level = 0;
  for (const heading of all("h1, h2, h3, h4")) {
    const here = Number(heading.tagName[1]);
    if (here > level + 1) fault("a level of headings is left out", heading);
    level = here;
  }
  for (const field of all("input:not([type=hidden]), select, textarea"))
    if (![...field.labels].some((label) => label.textContent.trim())) fault("no label", field);
  for (const control of all("a, button")) if (!named(control)) fault("no name", control);
  for (const frame of all("iframe")) if (!frame.title) fault("no title", frame);
  for (const cell of all("th")) if (!["col", "row"].includes(cell.scope)) fault("no scope", cell);
  for (const table of all("table")) if (!table.caption) fault("no caption", table);
  const ids = all("[id]").map((element) => element.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push(`the id ${id} twice`);
  for (const element of all("[aria-labelledby], [aria-describedby]"))
    for (const name of ["aria-labelledby", "aria-describedby"])
      for (const id of (element.getAttribute(name) || "").split(" "))
        if (id && !document.getElementById(id)) fault(`${name} leads nowhere`, element);
  for (const script of document.scripts) if (!script.src.startsWith(location.origin)) fault("a script from elsewhere", script);
  if (document.documentElement.scrollWidth > innerWidth) faults.push(`it is ${document.documentElement.scrollWidth} wide`);

  // WCAG 2.1, 1.4.3: 4.5 to 1 between a text and what is behind it. A canvas knows every notation of a colour.
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (colour) =>
    rgba(colour).slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
      .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor;
      if (rgba(colour)[3] === 255) return colour;
    }
    return "white";
  };
  for (const element of all("body *")) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!text || !element.checkVisibility() || element.closest("script, option, .unseen, .skip, [aria-disabled]")) continue;
    const [one, other] = [luminance(getComputedStyle(element).color), luminance(behind(element))].sort((a, b) => b - a);
    const contrast = (one + 0.05) / (other + 0.05);
    if (contrast < 4.5) fault(`a contrast of ${contrast.toFixed(2)}`, element);
  }
  return faults;
}"""

_FOCUS = """() => {
  const element = document.activeElement;
  const style = getComputedStyle(element);
  return {
    what: element.id || (element.getAttribute("aria-label") || element.textContent).trim() || element.tagName,
    seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
  };
}"""


def complains(message: ConsoleMessage) -> bool:
    """Tell whether the browser complains of the package's page: of an error in a script, or of what it blocked."""
    # A refusal that a test asks for is a line in the console too.
    return message.type == "error" and "/mailonce" in message.location["url"] and "status of 4" not in message.text


def faults(page: Page) -> list[str]:
    """Return what is wrong with the page that a window shows."""
    found: list[str] = page.evaluate(_FAULTS)
    return found


def tabbed_to(page: Page, wanted: str, most: int = 60) -> list[str]:
    """Press the tabulator until something is focused; everything on the way must show its focus.

    :param wanted: an id, a label or a text. :return: what was focused, in order.
    """
    way: list[str] = []
    while wanted not in way:
        assert len(way) < most, f"{wanted!r} is not reached: {way}"
        page.keyboard.press("Tab")
        focused = page.evaluate(_FOCUS)
        assert focused["seen"], f"nobody sees that {focused['what']!r} is focused"
        way.append(focused["what"])
    return way
