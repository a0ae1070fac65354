// ${} arithmetic of model files: + - * / // %, min, max, ceil, round_to, and list[index].
#pragma once

#include <map>
#include <string>

#include "config/yaml.h"

namespace octavo {

/// Names visible inside ${}; values are numbers, texts or lists.
using Variables = std::map<std::string, YamlNode, std::less<>>;

/// The node with every ${} replaced. A text that is one ${} alone becomes the value itself, so "${a}" may
/// give a number or a list. Errors are Errc::config: unknown variable, wrong type, division by 0, a result
/// beyond 2^40.
///
/// `/` of two whole numbers is whole where it divides, `//` and `%` round down (-7 // 2 = -4), and
/// round_to(x, m) is the multiple of m nearest to x, at least m and not more than a tenth below x (the
/// channel rule of MobileNetV2, Sandler et al. 2018).
YamlNode evaluate(const YamlNode& node, const Variables& variables);

}  // namespace octavo
