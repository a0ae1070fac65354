#include "train/report/page.h"

#include "train/report/markup.h"

namespace octavo::report {

std::string page(const std::string& title, const std::string& head, const std::vector<Section>& sections) {
  Markup out;
  out.raw("<!DOCTYPE html>\n").open("html", {{"lang", "en"}}).open("head");
  out.empty("meta", {{"charset", "utf-8"}});
  out.empty("meta", {{"name", "viewport"}, {"content", "width=device-width, initial-scale=1"}});
  out.empty("meta", {{"name", "color-scheme"}, {"content", "light dark"}});
  out.element("title", {}, title);
  out.open("style").raw(page_style()).raw(colour_classes()).close().close();
  out.open("body").open("header").raw(head).close().open("nav");
  for (const Section& section : sections) out.element("a", {{"href", "#" + section.id}}, section.title);
  out.close().open("main");
  for (const Section& section : sections) {
    out.raw("\n").open("section", {{"id", section.id}}).element("h2", {}, section.title).raw(section.body);
    out.close();
  }
  out.close().element("div", {{"id", "tip"}, {"hidden", ""}}, "").open("script").raw(page_script());
  return out.take() + "\n";
}

}  // namespace octavo::report
