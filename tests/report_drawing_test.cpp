// The parts that pages are drawn with: numbers, axes, thinned curves, colour scales, columns.
#include <cmath>
#include <set>

#include "support/catch.h"
#include "train/report/axis.h"
#include "train/report/curves.h"
#include "train/report/markup.h"
#include "train/report/slot_grid.h"
#include "train/report/text.h"

using namespace octavo::report;

namespace {

std::vector<std::string> labels(const std::vector<Tick>& ticks) {
  std::vector<std::string> result;
  for (const Tick& tick : ticks) result.push_back(tick.label);
  return result;
}

using Strings = std::vector<std::string>;

}  // namespace

TEST_CASE("text is escaped and repaired") {
  CHECK(escape("a<b>&\"'\n") == "a&lt;b&gt;&amp;&quot;&#39;\n");
  CHECK(escape("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80") == "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
  const std::string bad = "\xEF\xBF\xBD";
  // Lone bytes, overlong forms, surrogates, cut sequences, control characters.
  CHECK(escape("\xFFz") == bad + "z");
  CHECK(escape("\xC0\x80") == bad + bad);
  CHECK(escape("\xED\xA0\x80") == bad + bad + bad);
  CHECK(escape("\xE2\x82") == bad + bad);
  CHECK(escape(std::string("\0\x1b", 2)) == bad + bad);
  CHECK(json_string("a\"\\</script>\n") == "\"a\\\"\\\\\\u003c/script>" + bad + "\"");
}

TEST_CASE("numbers are written as people read them") {
  CHECK(count_text(0) == "0");
  CHECK(count_text(999) == "999");
  CHECK(count_text(1234567) == "1,234,567");
  CHECK(count_text(-1000) == "-1,000");
  CHECK(number_text(0.0123, 3) == "0.0123");
  CHECK(number_text(12345.6, 3) == "12,346");
  CHECK(number_text(1.25e-7, 2) == "1.2e-07");
  CHECK(number_text(std::nan(""), 3) == "–");
  CHECK(percent_text(0.98765, 1) == "98.8%");
  CHECK(bytes_text(1536) == "1.5 KiB");
  CHECK(bytes_text(256 << 20) == "256 MiB");
  CHECK(bytes_text(std::nan("")) == "–");
  CHECK(value_text(0.5, Unit::percent) == "50%");
  CHECK(value_text(16, Unit::bits) == "16 bits");
  CHECK(value_text(2.5e-7, Unit::percent) == "2.5×10⁻⁵%");
  CHECK(value_text(std::nan(""), Unit::percent) == "–");
  CHECK(coordinate(12.25) == "12.2");
  CHECK(coordinate(-0.01) == "0");
  CHECK(coordinate(7.0) == "7");
  CHECK(json_number(HUGE_VAL, 3) == "null");
  CHECK(json_number(123456, 12) == "123456");
}

TEST_CASE("what is opened is closed") {
  Markup out;
  out.open("p", {{"class", "a\"b"}}).text("<").open("b");
  CHECK(out.take() == "<p class=\"a&quot;b\">&lt;<b></b></p>");
}

TEST_CASE("ticks are round") {
  CHECK(labels(linear_ticks({0, 10000}, 5)) == Strings{"0", "2k", "4k", "6k", "8k", "10k"});
  CHECK(labels(linear_ticks({0, 1}, 5)) == Strings{"0", "0.2", "0.4", "0.6", "0.8", "1.0"});
  CHECK(labels(linear_ticks({0.85, 0.95}, 5, Unit::percent)) == Strings{"86%", "88%", "90%", "92%", "94%"});
  CHECK(labels(linear_ticks({0, 3000}, 3)) == Strings{"0", "1k", "2k", "3k"});
  CHECK(labels(linear_ticks({-1, 1}, 4)) == Strings{"-1.0", "-0.5", "0", "0.5", "1.0"});
  CHECK(labels(logarithmic_ticks({1e-4, 10}, 6)) == Strings{"10⁻⁴", "10⁻³", "10⁻²", "10⁻¹", "1", "10¹"});
  CHECK(labels(logarithmic_ticks({1e-12, 1}, 4)).size() == 5);
  CHECK(linear_ticks({1, 1}, 5).empty());
  // Ranges that doubles can hardly tell apart end too.
  CHECK(linear_ticks({1e17, 1e17 + 32}, 5).size() <= 21);
  CHECK(power_text(2, -10) == "2⁻¹⁰");
  const Range out = rounded_out({0.13, 0.87}, 5);
  CHECK(out.low == Approx(0));
  CHECK(out.high == Approx(1));
  const Range one = rounded_out({3, 3}, 5);
  CHECK(one.low < 3);
  CHECK(one.high > 3);
  CHECK(rounded_out_logarithmic({0.002, 3}).low == Approx(0.001));
  CHECK(rounded_out_logarithmic({0.002, 3}).high == Approx(10));
}

TEST_CASE("axes map ends to ends") {
  const Axis linear({0, 10}, 100, 200), falling({0, 10}, 200, 100), log({1, 100}, 0, 50, true);
  CHECK(linear(5) == Approx(150));
  CHECK(linear(-5) == Approx(100));
  CHECK(linear(50) == Approx(200));
  CHECK(falling(10) == Approx(100));
  CHECK(log(10) == Approx(25));
  CHECK(log(1e-9) == Approx(0));
}

TEST_CASE("thinning keeps ends, peaks and order") {
  std::vector<Point> points;
  for (int i = 0; i < 10000; ++i) points.push_back({static_cast<double>(i), std::sin(0.01 * i)});
  points[1234].y = 50;
  points[7001].y = -50;
  for (std::size_t i = 3000; i < 4000; ++i) points[i].y = std::nan("");
  const auto kept = thin(points, 600);
  CHECK(kept.size() <= 600);
  CHECK(kept.size() > 400);
  CHECK(kept.front().x == 0);
  CHECK(kept.back().x == 9999);
  double low = 0, high = 0;
  bool gap = false;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    if (i > 0) CHECK(kept[i].x > kept[i - 1].x);
    gap = gap || std::isnan(kept[i].y);
    low = std::fmin(low, kept[i].y);
    high = std::fmax(high, kept[i].y);
  }
  CHECK(low == -50);
  CHECK(high == 50);
  CHECK(gap);
  CHECK(thin(std::span(points).first(600), 600).size() == 600);
  CHECK(thin({}, 600).empty());
}

TEST_CASE("smoothing is the mean of the neighbours") {
  const std::vector<Point> points = {{0, 1}, {1, 2}, {2, 6}, {3, std::nan("")}, {4, 10}};
  const auto smoothed = smooth(points, 3);
  REQUIRE(smoothed.size() == 5);
  CHECK(smoothed[0].y == 1.5);
  CHECK(smoothed[1].y == Approx(3));
  CHECK(smoothed[2].y == Approx(4));
  CHECK(smoothed[3].y == Approx(8));
  CHECK(smoothed[4].y == 10);
  CHECK(smoothing_window(10) == 1);
  CHECK(smoothing_window(1000) % 2 == 1);
}

TEST_CASE("quantiles, and ranges that a spike does not rule") {
  CHECK(quantile({5, 1, 3, std::nan("")}, 0.5) == 3);
  CHECK(quantile({5, 1, 3}, 0) == 1);
  CHECK(quantile({5, 1, 3}, 1) == 5);
  CHECK(std::isnan(quantile({}, 0.5)));
  std::vector<std::vector<Point>> curves(1);
  for (int i = 0; i < 200; ++i) curves[0].push_back({static_cast<double>(i), 1 + 0.01 * i});
  CHECK(!robust_range(curves).cut);
  curves[0][10].y = 1e9;
  const RobustRange range = robust_range(curves);
  CHECK(range.cut);
  CHECK(range.highest == 1e9);
  CHECK(range.range.high < 5);
  CHECK(range.range.high >= 2.95);
  CHECK(!robust_range({}).any);
}

TEST_CASE("colour scales run from pale to dark") {
  using Kind = ColourScale::Kind;
  const ColourScale rising{Kind::rising, {0, 1}}, falling{Kind::falling, {0, 1}},
      log{Kind::rising, {1e-6, 1}, true};
  CHECK(rising.colour(0) == "s0");
  CHECK(rising.colour(1) == "s15");
  CHECK(rising.colour(7) == "s15");
  CHECK(falling.colour(0) == "s15");
  CHECK(falling.colour(1) == "s0");
  CHECK(log.colour(0) == "s0");
  CHECK(log.colour(1e-3) == "s8");
  const ColourScale ratio{Kind::diverging, {0.25, 2}, false, 1};
  CHECK(ratio.colour(1) == "d8");
  CHECK(ratio.colour(0.25) == "d0");
  CHECK(ratio.colour(0.5) == "d4");
  CHECK(ratio.colour(2) == "d12");  // as far up as 0.5 is down
  CHECK(ratio.colour(0) == "d0");
}

TEST_CASE("samples fall into columns") {
  SlotRecord dense{"a", "net.a", "gradient"}, sparse{"b", "net.stage.b", "gradient"},
      silent{"c", "net.c", "gradient"};
  for (int step = 0; step < 1000; ++step)
    dense.samples.push_back({.step = step, .bits = step < 500 ? 8.0 : 16.0});
  sparse.samples = {{.step = 100, .bits = 4}, {.step = 900, .bits = 6}};
  silent.samples = {{.step = 0}};
  const std::vector<const SlotRecord*> few = {&sparse}, all = {&dense, &sparse, &silent};
  CHECK(column_edges(few, 1000) == std::vector<double>{100, 900, 1000});
  const auto edges = column_edges(all, 1000);
  CHECK(edges.size() == 151);
  CHECK(edges.front() == 0);
  CHECK(edges.back() == 1000);
  const Quantity bits{[](const SlotSample& sample) { return sample.bits; }, Quantity::Join::last};
  const auto rows = heat_rows(all, edges, bits);
  REQUIRE(rows.size() == 2);  // one knows nothing
  CHECK(rows[0].label == "a");
  CHECK(rows[1].label == "stage.b");
  CHECK(rows[1].name == "net.stage.b");
  CHECK(rows[0].values.front() == 8);
  CHECK(rows[0].values.back() == 16);
  CHECK(std::isnan(rows[1].values.front()));
  CHECK(rows[1].values[75] == 4);  // shown until the next sample
  CHECK(rows[1].values.back() == 6);
  silent.operand = "weight";
  CHECK(heat_rows(all, edges, bits)[1].label == "stage.b gradient");
  sparse.layer = dense.layer;
  CHECK(heat_rows(all, edges, bits)[1].name == "b");  // the key, where layer and operand are the same
  CHECK(value_range(rows).low == 4);
  CHECK(value_range(rows).high == 16);
  const Quantity mean{bits.value, Quantity::Join::mean}, largest{bits.value, Quantity::Join::largest};
  const std::vector<double> one = {0, 1000};
  CHECK(heat_rows(few, one, mean)[0].values[0] == 5);
  CHECK(heat_rows(few, one, largest)[0].values[0] == 6);
}
