// In which order the batch copies of a weight gradient with sample classes hold the samples: class by class,
// each class from a whole segment on, even classes first, from high to low. Order and borders are data of a
// step and lie in device memory; sizes and launches hold the worst case.
#pragma once

#include "../kernels.h"
#include "host_device.h"

namespace octavo::kernels::cuda {

constexpr int most_ranges = most_sample_class + 1;

/// Segments that hold samples of one class; their products count 2^octave, among the even or the odd sums.
struct ClassRange {
  int first, segments, octave, odd;
};

/// In device memory.
struct SampleOrder {
  int ranges, segments;  // in use
  ClassRange range[most_ranges];
};

/// Which sample a place of a batch copy holds. A sample may be there several times: `again` marks all but the
/// first.
constexpr std::int32_t no_sample = -1, again = 1 << 30;
OCTAVO_HD constexpr int sample_of(std::int32_t entry) { return entry < 0 ? -1 : entry & (again - 1); }
OCTAVO_HD constexpr bool is_first(std::int32_t entry) { return entry >= 0 && (entry & again) == 0; }

/// Segments that any choice of at most `classes` classes fits into; 0 classes: samples in their own order.
OCTAVO_HD constexpr int most_segments(int samples, int classes) {
  const int used = samples < classes ? samples : classes;
  return used == 0 ? static_cast<int>(ceil_div(samples, segment_bytes))
                   : (samples - used) / segment_bytes + used;
}

/// The samples of one class that keep together, 2^octaves times each, from a place of the order on.
struct ClassGroup {
  int target, first;  // class that they are held in, place
};
/// Of the samples of a class, in their order, `kept` are in one group and the rest in the other.
struct ClassPlaces {
  int samples[most_ranges];  // of each class
  int taken[most_ranges];    // places, with what other classes moved there
  int kept[most_ranges];
  ClassGroup group[most_ranges][2];
};

OCTAVO_HD constexpr int group_copies(int sample_class, const ClassGroup& group) {
  return 1 << ((sample_class - group.target) / 2);
}

/// Where a lower class has room in its last segment for the end of a class, repeated as often as it counts
/// there, that end needs no segment of its own.
OCTAVO_HD constexpr void move_ends(ClassPlaces& to) {
  for (int c = 0; c < most_ranges; ++c) {
    to.kept[c] = to.taken[c] = to.samples[c];
    to.group[c][0] = to.group[c][1] = {c, 0};
  }
  for (int c = most_ranges - 1; c >= 2; --c) {
    const int end = to.taken[c] % segment_bytes;
    if (end == 0 || (to.taken[c] >= segment_bytes && to.samples[c] < end)) continue;
    int below = c - 2;
    while (below >= 0 && to.taken[below] == 0) below -= 2;
    if (below < 0 || c - below > 6) continue;  // 16 times and more have no room
    const int copies = 1 << ((c - below) / 2);
    if (end * copies > static_cast<int>(whole_segments(to.taken[below])) - to.taken[below]) continue;
    to.taken[below] += end * copies;
    if (to.taken[c] < segment_bytes) {  // all that it holds
      for (int from = c; from < most_ranges; from += 2)
        for (ClassGroup& group : to.group[from])
          if (group.target == c) group.target = below;
    } else {
      to.kept[c] -= end, to.group[c][1].target = below;
    }
    to.taken[c] -= end;
  }
}

/// Ranges, and places of the groups, from the number of samples in each class.
OCTAVO_HD constexpr void place_classes(SampleOrder& order, ClassPlaces& places) {
  move_ends(places);
  order.ranges = order.segments = 0;
  for (int odd = 0; odd < 2; ++odd)
    for (int c = most_ranges - 2 + odd; c >= 0; c -= 2) {
      if (places.taken[c] == 0) continue;
      const int segments = static_cast<int>(ceil_div(places.taken[c], segment_bytes));
      int next = order.segments * segment_bytes;
      for (int from = c; from < most_ranges; from += 2)
        for (int part = 0; part < 2; ++part) {
          ClassGroup& group = places.group[from][part];
          if (group.target != c) continue;
          group.first = next;
          const int kept = places.kept[from];
          next += (part == 0 ? kept : places.samples[from] - kept) * group_copies(from, group);
        }
      order.range[order.ranges++] = {order.segments, segments, c / 2, odd};
      order.segments += segments;
    }
}

/// Enters sample number `rank` of its class into the order.
OCTAVO_HD constexpr void enter_sample(const ClassPlaces& places, int sample_class, int rank, int sample,
                                      std::int32_t* order) {
  const int kept = places.kept[sample_class], part = rank < kept ? 0 : 1;
  const ClassGroup& group = places.group[sample_class][part];
  const int copies = group_copies(sample_class, group);
  const int at = group.first + (part == 0 ? rank : rank - kept) * copies;
  for (int i = 0; i < copies; ++i) order[at + i] = i == 0 ? sample : sample | again;
}

}  // namespace octavo::kernels::cuda
