// A model of everything that makes graphs hard: branches, joins, a value used twice by one node and again
// later, an output from the inside of a chain, dropout, normalized inputs, an auxiliary loss.
#pragma once

#include <string>

namespace octavo::test {

inline std::string branches() {
  return "input image\ninput label\nnormal batch_norm image\n"
         "stem conv2d normal {out: 8, kernel: 3, pad: 1, bias: true}\nbn batch_norm stem\nr relu bn\n"
         "left conv2d r {out: 4, kernel: 1}\nright conv2d r {out: 4, kernel: 3, pad: 1}\n"
         "mid max_pool r {kernel: 3, stride: 1, pad: 1}\n"
         "join concat left,right,mid\ntwice add join,join\nthree add twice,join,twice\nact relu6 three\n"
         "depth conv2d act {out: 16, kernel: 3, pad: 1, groups: 16}\nskip add depth,act\n"
         "drop dropout skip {p: 0.2}\ndown avg_pool drop {kernel: 2}\nflat flatten down\nhead linear flat "
         "{out: 10}\n"
         "ce softmax_cross_entropy head,label\npool global_avg_pool r when=train\naux linear pool when=train "
         "{out: 10}\n"
         "auxce softmax_cross_entropy aux,label when=train {label_smoothing: 0.1}\n"
         "output logits head\noutput inner twice\nloss ce\nloss auxce 0.3\n";
}

}  // namespace octavo::test
