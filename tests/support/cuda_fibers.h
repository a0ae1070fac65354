// Runs CUDA kernel sources on the host: every thread of a block is a fiber, warps take turns in a drawn
// order, and the instructions of kernels/cuda/device_ops.cuh are done by the PTX tables. Asynchronous copies
// and products are done either at once or as late as the waits allow, so that a missing wait or barrier shows
// as wrong sums. Products of warpgroups read a memory of their own, which late copies reach at fences alone.
// Boxes of TMA arrive at once, or only when no thread can go on without one.
// Include before a .cuh file; one architecture (OCTAVO_ARCH) for a program.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "cuda/wgmma_s8.h"
#include "support/fiber_switch.h"
#include "support/tma_copies.h"
#include "support/wgmma.h"

#define __device__
#define __global__
#define __grid_constant__
#define __shared__ static
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)

struct Dim3 {
  unsigned x, y, z;
  constexpr Dim3(unsigned width = 1, unsigned height = 1, unsigned depth = 1)
      : x(width), y(height), z(depth) {}
};
struct uint4 {
  unsigned x, y, z, w;
};
inline Dim3 threadIdx, blockIdx, gridDim;
using std::max;
using std::min;

namespace octavo::kernels::test {

/// The fibers of one block, or of the blocks of a cluster along x; shared memory declared in a kernel is then
/// one for all of them.
class FiberBlock {
 public:
  static FiberBlock& current() { return *current_; }

  FiberBlock(int threads, unsigned seed, bool late_copies, bool late_products = false, int cluster = 1)
      : threads_(threads),
        late_copies_(late_copies),
        late_products_(late_products),
        generator_(seed),
        fibers_(static_cast<std::size_t>(threads * cluster)),
        members_(static_cast<std::size_t>(cluster)),
        warps_(fibers_.size() / 32) {
    for (int i = 0; i < threads * cluster; ++i)
      fiber(i).stack = std::make_unique_for_overwrite<char[]>(stack_bytes);
  }

  ~FiberBlock() { current_ = nullptr; }
  FiberBlock(const FiberBlock&) = delete;
  FiberBlock& operator=(const FiberBlock&) = delete;

  /// Runs body on every fiber, to the end. Throws std::logic_error when they wait for each other for ever,
  /// and what a fiber throws.
  void run(const std::function<void()>& body) {
    body_ = &body, current_ = this;
    boxes_.clear();
    thrown_ = nullptr, cluster_barrier_ = {};
    for (Member& member : members_) {
      member.barriers = {}, member.mbarriers.clear(), member.shown = member.left = 0;
      std::copy_n(member.memory(), shared_bytes, member.seen_by_products.begin());
    }
    for (Warp& warp : warps_) warp.arrived = 0;
    first_block_ = blockIdx.x;
    for (Fiber& f : fibers_) {
      f.done = false, f.waits_for = nullptr;
      f.products.clear(), f.product_groups.clear();
      f.context.begin(f.stack.get(), stack_bytes, &FiberBlock::start);
    }
    const int warps = static_cast<int>(fibers_.size() / 32);
    while (!all_done()) {
      const int warp = std::uniform_int_distribution<int>(0, warps - 1)(generator_);
      const bool moved = run_warp(warp);
      if (thrown_) std::rethrow_exception(thrown_);
      if (moved || can_move()) continue;
      if (boxes_.empty()) throw std::logic_error("fibers wait for each other for ever");
      const auto next = static_cast<std::ptrdiff_t>(
          std::uniform_int_distribution<std::size_t>(0, boxes_.size() - 1)(generator_));
      const Box box = std::move(boxes_[static_cast<std::size_t>(next)]);
      boxes_.erase(boxes_.begin() + next);
      deliver(box);
    }
    if (!boxes_.empty()) throw std::logic_error("a block ended before its boxes arrived");
    blockIdx.x = first_block_;
    for (const Member& member : members_)
      for (const auto& [address, each] : member.mbarriers)
        if (each.bytes != 0) throw std::logic_error("a block ended while a barrier expected bytes");
  }

  std::int8_t* shared() { return member().memory(); }

  void barrier() { barrier(0, threads_); }
  /// Of barrier number `id`, for so many threads.
  void barrier(std::size_t id, int threads) { pass(member().barriers[id], threads); }
  void cluster_barrier() { pass(cluster_barrier_, static_cast<int>(fibers_.size())); }

  void init_mbarrier(std::uint32_t address, int arrivals) {
    if (address % 8 != 0) throw std::logic_error("a barrier that is not aligned to 8 bytes");
    member().mbarriers[address] = {.arrivals = arrivals, .pending = arrivals};
    fiber(now_).unseen_barriers.push_back(address);
  }
  void show_mbarriers() {
    for (const std::uint32_t address : fiber(now_).unseen_barriers)
      member().mbarriers.at(address).seen = true;
    fiber(now_).unseen_barriers.clear();
  }
  /// At the barrier of another block of the cluster.
  void arrive_at(std::uint32_t address, int rank) {
    Member& there = members_.at(static_cast<std::size_t>(rank));
    if (there.left == threads_) throw std::logic_error("an arrival at a block that has ended");
    arrive(there.mbarriers.at(address), 0);
  }
  void arrive(std::uint32_t address, long long expected) { arrive(member().mbarriers.at(address), expected); }
  void wait_phase(std::uint32_t address, int parity) {
    Mbarrier& of = member().mbarriers.at(address);
    while (of.phase % 2 == parity) wait(&of.phase, of.phase);
  }
  struct Box {
    std::vector<ArrivingSegment> segments;
    std::uint32_t barrier;
    std::size_t to;  // block of the cluster
  };
  /// To this block, or to those that are a bit of `blocks`.
  void bring(const std::vector<ArrivingSegment>& segments, std::uint32_t barrier) {
    bring(Box{segments, barrier, static_cast<std::size_t>(now_ / threads_)});
  }
  void bring(const std::vector<ArrivingSegment>& segments, std::uint32_t barrier, unsigned blocks) {
    if (blocks >> members_.size() != 0) throw std::logic_error("a box for blocks beyond the cluster");
    for (std::size_t to = 0; to < members_.size(); ++to)
      if ((blocks >> to & 1) != 0) bring(Box{segments, barrier, to});
  }
  void bring(Box box) {
    if (!members_[box.to].mbarriers.at(box.barrier).seen)
      throw std::logic_error("TMA does not see this barrier");
    check_shown(box);
    if (late_copies_)
      boxes_.push_back(std::move(box));
    else
      deliver(box);
  }

  /// Of what threads wrote, when all have said so but those of the last warp, which copies.
  void show_to_copies() {
    Member& mine = member();
    if (++mine.shown < threads_ - 32) return;
    mine.shown = 0;
    std::copy_n(mine.memory(), shared_bytes, mine.seen_by_products.begin());
  }

  /// All lanes of the warp give a value; returns those of all.
  template <class T>
  const T* gather(const T& mine) {
    Warp& warp = warps_[static_cast<std::size_t>(now_ / 32)];
    const int generation = warp.generation;
    auto* slots = reinterpret_cast<T*>(warp.slots[generation % 2]);
    static_assert(sizeof(T) * 32 <= sizeof(warp.slots[0]));
    slots[now_ % 32] = mine;
    if (++warp.arrived == 32) warp.arrived = 0, ++warp.generation;
    wait(&warp.generation, generation);
    return slots;
  }

  struct Copy {
    std::int8_t* to;
    const void* from;  // null: zeros
  };
  void copy(Copy c) {
    if (late_copies_)
      fiber(now_).copies.push_back(c);
    else
      perform(c);
  }
  void commit() { fiber(now_).groups.push_back(std::move(fiber(now_).copies)), fiber(now_).copies.clear(); }
  void wait_groups(std::size_t pending) {
    auto& groups = fiber(now_).groups;
    while (groups.size() > pending) {
      for (const Copy& c : groups.front()) perform(c);
      groups.erase(groups.begin());
    }
  }
  int lane() const { return now_ % 32; }

  /// What this thread copied and waited for reaches the memory that products read.
  void show_to_products() {
    for (const std::int8_t* to : fiber(now_).unseen) member().show(to);
    fiber(now_).unseen.clear();
  }
  const std::int8_t* seen_by_products(std::uint32_t address) {
    const std::int8_t* seen = &member().seen_by_products.at(address + 15) - 15;
    if (std::memcmp(seen, member().memory() + address, 16) != 0)
      throw std::logic_error("a product reads what a thread wrote meanwhile");
    return seen;
  }
  using Product = std::function<void()>;
  void begin_products() { fiber(now_).ordered = true; }
  void multiply(Product product) {
    if (!fiber(now_).ordered) throw std::logic_error("a product without a fence since the last wait");
    if (late_products_)
      fiber(now_).products.push_back(std::move(product));
    else
      product();
  }
  void commit_products() {
    fiber(now_).product_groups.push_back(std::move(fiber(now_).products)), fiber(now_).products.clear();
  }
  void wait_products(std::size_t pending) {
    auto& groups = fiber(now_).product_groups;
    fiber(now_).ordered = false;
    while (groups.size() > pending) {
      for (const Product& product : groups.front()) product();
      groups.erase(groups.begin());
    }
  }

 private:
  static constexpr std::size_t stack_bytes = 64 * 1024, shared_bytes = 227 * 1024;
  struct Fiber {
    FiberContext context;
    std::unique_ptr<char[]> stack;
    bool done = true;
    const int* waits_for = nullptr;  // until this differs from `seen`
    int seen = 0;
    std::vector<Copy> copies;
    std::vector<std::vector<Copy>> groups;
    std::vector<const std::int8_t*> unseen;  // copies that no fence has shown to products
    std::vector<std::uint32_t> unseen_barriers;
    std::vector<Product> products;
    std::vector<std::vector<Product>> product_groups;
    bool ordered = false;
  };
  struct BlockBarrier {
    int arrived = 0, generation = 0;
  };
  struct Mbarrier {
    int arrivals = 0, pending = 0, phase = 0;
    long long bytes = 0;  // expected and not yet here
    bool seen = false;    // by TMA
  };
  /// A block of the cluster.
  struct Member {
    std::vector<std::int8_t> shared = std::vector<std::int8_t>(shared_bytes + 128, 0x77);
    std::vector<std::int8_t> seen_by_products = std::vector<std::int8_t>(shared_bytes, 0x77);
    std::array<BlockBarrier, 16> barriers;
    std::map<std::uint32_t, Mbarrier> mbarriers;  // by address
    int shown = 0;                                // threads that have shown what they wrote to copies
    int left = 0;                                 // threads that have ended

    std::int8_t* memory() {
      return shared.data() + (128 - reinterpret_cast<std::uintptr_t>(shared.data()) % 128);
    }
    void show(const std::int8_t* at) {
      std::memcpy(&seen_by_products.at(static_cast<std::size_t>(at - memory())), at, 16);
    }
  };
  struct Warp {
    int arrived = 0, generation = 0;
    alignas(16) char slots[2][32 * 32];
  };

  Member& member() { return members_[static_cast<std::size_t>(now_ / threads_)]; }
  void pass(BlockBarrier& of, int threads) {
    const int generation = of.generation;
    if (++of.arrived == threads) of.arrived = 0, ++of.generation;
    wait(&of.generation, generation);
  }
  static void arrive(Mbarrier& of, long long expected) {
    if (of.pending == 0) throw std::logic_error("an arrival too many at a barrier");
    of.bytes += expected, --of.pending;
    end_phase(of);
  }
  static void end_phase(Mbarrier& of) {
    if (of.pending == 0 && of.bytes < 0) throw std::logic_error("more bytes than a barrier expects");
    if (of.pending == 0 && of.bytes == 0) of.pending = of.arrivals, ++of.phase;
  }
  void check_shown(const Box& box) {
    Member& to = members_[box.to];
    for (const ArrivingSegment& segment : box.segments)
      if (segment.to <= shared_bytes - 16 &&
          std::memcmp(to.memory() + segment.to, &to.seen_by_products[segment.to], 16) != 0)
        throw std::logic_error("TMA writes where a thread wrote that has not shown it");
  }
  void deliver(const Box& box) {
    for (const ArrivingSegment& segment : box.segments) {
      if (segment.to > shared_bytes - 16) throw std::logic_error("a box beyond the shared memory of a block");
      std::int8_t* to = members_[box.to].memory() + segment.to;
      segment.from != nullptr ? std::memcpy(to, segment.from, 16) : std::memset(to, 0, 16);
      members_[box.to].show(to);
    }
    Mbarrier& of = members_[box.to].mbarriers.at(box.barrier);
    of.bytes -= static_cast<long long>(box.segments.size()) * 16;
    end_phase(of);
  }

  void perform(const Copy& c) {
    if (c.from != nullptr)
      std::memcpy(c.to, c.from, 16);
    else
      std::memset(c.to, 0, 16);
    if (late_copies_)
      fiber(now_).unseen.push_back(c.to);
    else
      member().show(c.to);
  }
  static void start() {
    FiberBlock& block = *current_;
    try {
      (*block.body_)();
    } catch (...) {
      block.thrown_ = std::current_exception();
    }
    Fiber& f = block.fiber(block.now_);
    f.done = true;
    ++block.member().left;
    f.context.change_to(block.scheduler_);
  }

  Fiber& fiber(int i) { return fibers_[static_cast<std::size_t>(i)]; }
  bool all_done() const {
    return std::all_of(fibers_.begin(), fibers_.end(), [](const Fiber& f) { return f.done; });
  }

  bool can_move() const {
    return std::any_of(fibers_.begin(), fibers_.end(), [](const Fiber& f) {
      return !f.done && (f.waits_for == nullptr || *f.waits_for != f.seen);
    });
  }

  /// Each lane once, in order; false when none could go on.
  bool run_warp(int warp) {
    bool moved = false;
    for (int i = warp * 32; i < warp * 32 + 32; ++i) {
      Fiber& f = fiber(i);
      if (f.done || (f.waits_for != nullptr && *f.waits_for == f.seen)) continue;
      now_ = i, threadIdx.x = static_cast<unsigned>(i % threads_);
      blockIdx.x = first_block_ + static_cast<unsigned>(i / threads_);
      scheduler_.change_to(f.context);
      moved = true;
      if (thrown_) break;
    }
    return moved;
  }

  void wait(const int* counter, int seen) {
    if (*counter != seen) return;
    Fiber& f = fiber(now_);
    f.waits_for = counter, f.seen = seen;
    f.context.change_to(scheduler_);
  }

  static inline FiberBlock* current_ = nullptr;
  int threads_;
  bool late_copies_, late_products_;
  std::mt19937 generator_;
  std::vector<Fiber> fibers_;
  std::vector<Member> members_;
  std::vector<Warp> warps_;
  BlockBarrier cluster_barrier_;
  std::vector<Box> boxes_;  // on their way
  unsigned first_block_ = 0;
  std::exception_ptr thrown_;
  int now_ = 0;
  FiberContext scheduler_;
  const std::function<void()>* body_ = nullptr;
};

}  // namespace octavo::kernels::test

inline void __syncthreads() { octavo::kernels::test::FiberBlock::current().barrier(); }
inline void __syncwarp() { octavo::kernels::test::FiberBlock::current().gather(0); }
template <class T>
T __shfl_down_sync(unsigned, T value, int distance) {
  auto& block = octavo::kernels::test::FiberBlock::current();
  const T* all = block.gather(value);
  return all[block.lane() + distance < 32 ? block.lane() + distance : block.lane()];
}
inline unsigned __ballot_sync(unsigned, bool mine) {
  const int* all = octavo::kernels::test::FiberBlock::current().gather(mine ? 1 : 0);
  unsigned bits = 0;
  for (int lane = 0; lane < 32; ++lane) bits |= static_cast<unsigned>(all[lane]) << lane;
  return bits;
}
inline int __popc(unsigned bits) { return std::popcount(bits); }
template <class T>
T __ldg(const T* from) {
  return *from;
}
template <class T>
T __ldcg(const T* from) {
  return *from;
}
template <class T, class U>
T atomicAdd(T* to, U value) {
  const T before = *to;
  *to += static_cast<T>(value);
  return before;
}
inline void atomicOr(unsigned* to, unsigned value) { *to |= value; }
template <class T>
void atomicMax(T* to, T value) {
  *to = std::max(*to, value);
}
template <class T>
void atomicMin(T* to, T value) {
  *to = std::min(*to, value);
}

namespace octavo::kernels::cuda {

inline std::int8_t* dynamic_shared() { return test::FiberBlock::current().shared(); }
inline std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(static_cast<const std::int8_t*>(pointer) - dynamic_shared());
}

inline void load_matrices(std::uint32_t (&to)[4], std::uint32_t address) {
  auto& block = test::FiberBlock::current();
  const std::uint32_t* all = block.gather(address);
  for (int j = 0; j < 4; ++j)
    std::memcpy(&to[j], dynamic_shared() + all[j * 8 + block.lane() / 4] + block.lane() % 4 * 4, 4);
}

struct MmaOperands {
  std::uint32_t a[4], b[2];
};
inline std::int8_t byte_of(std::uint32_t word, int byte) {
  return static_cast<std::int8_t>(word >> (8 * byte));
}
template <bool is_unsigned>
int value_of(std::int8_t v) {
  return is_unsigned ? static_cast<std::uint8_t>(v) : v;
}

/// Which byte of which register of which lane an element of A [m][k] or B [n][k] is.
template <class Mma>
struct MmaSources {
  struct Source {
    int lane, index, byte;
  };
  Source a[Mma::m][Mma::k], b[Mma::n][Mma::k];
  MmaSources() {
    for (int lane = 0; lane < 32; ++lane)
      for (int byte = 0; byte < 4; ++byte) {
        for (int r = 0; r < Mma::a_registers; ++r) {
          const Place p = Mma::a(lane, r, byte);
          a[p.row][p.column] = {lane, r, byte};
        }
        for (int r = 0; r < Mma::b_registers; ++r) {
          const Place p = Mma::b(lane, r, byte);
          b[p.row][p.column] = {lane, r, byte};
        }
      }
  }
};

/// This lane's registers of C, from all lanes' operands.
template <class Mma, bool a_unsigned>
void mma_by_tables(const MmaOperands* all, int* const (&c)[Mma::c_registers]) {
  static const MmaSources<Mma> sources;
  for (int r = 0; r < Mma::c_registers; ++r) {
    const Place p = Mma::c(test::FiberBlock::current().lane(), r);
    for (int t = 0; t < Mma::k; ++t) {
      const auto &left = sources.a[p.row][t], &right = sources.b[p.column][t];
      *c[r] += value_of<a_unsigned>(byte_of(all[left.lane].a[left.index], left.byte)) *
               byte_of(all[right.lane].b[right.index], right.byte);
    }
  }
}

template <bool a_unsigned>
void mma_m16n8k32(int (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  const MmaOperands* all =
      test::FiberBlock::current().gather(MmaOperands{{a[0], a[1], a[2], a[3]}, {b0, b1}});
  mma_by_tables<MmaM16N8K32, a_unsigned>(all, {&c[0], &c[1], &c[2], &c[3]});
}
template <bool a_unsigned>
void mma_m8n8k16(int& c0, int& c1, std::uint32_t a, std::uint32_t b) {
  const MmaOperands* all = test::FiberBlock::current().gather(MmaOperands{{a}, {b}});
  mma_by_tables<MmaM8N8K16, a_unsigned>(all, {&c0, &c1});
}
template <bool a_unsigned>
int dot4(std::uint32_t a, std::uint32_t b, int c) {
  for (int byte = 0; byte < 4; ++byte) c += value_of<a_unsigned>(byte_of(a, byte)) * byte_of(b, byte);
  return c;
}

inline void copy_async(std::uint32_t to, const void* from, bool inside) {
  test::FiberBlock::current().copy({dynamic_shared() + to, inside ? from : nullptr});
}
inline void commit_copies() { test::FiberBlock::current().commit(); }
template <int pending>
void wait_copies() {
  test::FiberBlock::current().wait_groups(pending);
}

inline void show_to_products() { test::FiberBlock::current().show_to_products(); }
template <int fragments>
void begin_products(int (&)[fragments][4]) {
  test::FiberBlock::current().begin_products();
}
inline void commit_products() { test::FiberBlock::current().commit_products(); }
template <int pending, int fragments>
void wait_products(int (&)[fragments][4]) {
  test::FiberBlock::current().wait_products(pending);
}
/// This thread's sums alone.
template <bool a_unsigned, int fragments>
void start_product(int (&sums)[fragments][4], std::uint64_t a, std::uint64_t b) {
  test::FiberBlock& block = test::FiberBlock::current();
  const int thread = static_cast<int>(threadIdx.x) % WgmmaM64K32::threads;
  block.multiply([&block, &sums, thread, a, b] {
    for (int reg = 0; reg < fragments * 4; ++reg) {
      const Place at = WgmmaM64K32::c(thread, reg);
      for (int segment = 0; segment < WgmmaM64K32::k / segment_bytes; ++segment) {
        const std::int8_t* left = block.seen_by_products(test::matrix_segment(a, at.row, segment));
        const std::int8_t* right = block.seen_by_products(test::matrix_segment(b, at.column, segment));
        for (int t = 0; t < segment_bytes; ++t)
          sums[reg / 4][reg % 4] += value_of<a_unsigned>(left[t]) * right[t];
      }
    }
  });
}

template <int count>
void sync_first() {
  test::FiberBlock::current().barrier(1, count);
}
inline void init_barrier(std::uint32_t barrier, int arrivals) {
  test::FiberBlock::current().init_mbarrier(barrier, arrivals);
}
inline int made_anew(int value) { return value; }
inline void show_to_copies() { test::FiberBlock::current().show_to_copies(); }
inline void show_barriers() { test::FiberBlock::current().show_mbarriers(); }
inline void arrive_at(std::uint32_t barrier, int rank) {
  test::FiberBlock::current().arrive_at(barrier, rank);
}
inline void sync_cluster() { test::FiberBlock::current().cluster_barrier(); }
inline void arrive_expecting(std::uint32_t barrier, int bytes) {
  test::FiberBlock::current().arrive(barrier, bytes);
}
inline void wait_phase(std::uint32_t barrier, int parity) {
  test::FiberBlock::current().wait_phase(barrier, parity);
}
inline void prefetch_map(const CUtensorMap& map) {
  if (cuda_host_tensor_map(map).made != cuda_host_map_made) throw std::logic_error("a map that nobody made");
}
template <class... Coordinates>
void copy_box(std::uint32_t to, const CUtensorMap& map, std::uint32_t barrier, Coordinates... at) {
  test::FiberBlock::current().bring(test::TensorCopy(map, to).tiled({at...}), barrier);
}
inline void copy_box_to(unsigned blocks, std::uint32_t to, const CUtensorMap& map, std::uint32_t barrier,
                        int x, int y, int z) {
  test::FiberBlock::current().bring(test::TensorCopy(map, to).tiled({x, y, z}), barrier, blocks);
}
inline void copy_pixels(std::uint32_t to, const CUtensorMap& map, std::uint32_t barrier, int c, int w, int h,
                        int n, int offset_w, int offset_h) {
  test::FiberBlock::current().bring(test::TensorCopy(map, to).im2col({c, w, h, n}, {offset_w, offset_h}),
                                    barrier);
}

}  // namespace octavo::kernels::cuda
