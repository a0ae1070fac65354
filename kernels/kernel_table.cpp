// Instruction sets, and the list of candidates for every kernel family.
#include <array>
#include <atomic>
#include <cstdlib>
#include <stdexcept>

#include "kernels.h"

namespace octavo::kernels {

#define OCTAVO_CONV_S8(candidate) extern const ConvS8Candidate candidate;
#include "kernel_list.inc"
#undef OCTAVO_CONV_S8

namespace {

constexpr std::array all_isas = {Isa::ref, Isa::avx2, Isa::avx512vnni};

Isa best_isa() {
  Isa best = Isa::ref;
  for (Isa isa : all_isas)
    if (isa_supported(isa)) best = isa;
  return best;
}

Isa isa_from_environment() {
  const char* name = std::getenv("OCTAVO_ISA");
  if (!name || !*name) return best_isa();
  for (Isa isa : all_isas)
    if (std::string(name) == isa_name(isa)) {
      if (isa_supported(isa)) return isa;
      throw std::runtime_error("OCTAVO_ISA=" + std::string(name) +
                               ": this CPU lacks it; the best it has is " + isa_name(best_isa()));
    }
  throw std::runtime_error("OCTAVO_ISA=" + std::string(name) + " is unknown; choose ref, avx2 or avx512vnni");
}

std::atomic<Isa>& chosen_isa() {
  static std::atomic<Isa> isa{isa_from_environment()};
  return isa;
}

std::atomic<bool> bf16_conversion_allowed{true};

}  // namespace

bool converts_bf16() {
  static const bool supported = __builtin_cpu_supports("avx512bf16");
  return supported && bf16_conversion_allowed.load(std::memory_order_relaxed);
}

void allow_bf16_conversion(bool allowed) { bf16_conversion_allowed = allowed; }

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::ref:
      return "ref";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512vnni:
      return "avx512vnni";
  }
  return "?";
}

bool isa_supported(Isa isa) {
  switch (isa) {
    case Isa::ref:
      return true;
    case Isa::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::avx512vnni:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
  }
  return false;
}

Isa active_isa() { return chosen_isa().load(); }

void force_isa(Isa isa) {
  if (!isa_supported(isa)) throw std::runtime_error(std::string("this CPU lacks ") + isa_name(isa));
  chosen_isa().store(isa);
}

const char* product_name(Product product) {
  switch (product) {
    case Product::forward:
      return "forward";
    case Product::grad_input:
      return "grad_input";
    case Product::grad_weight:
      return "grad_weight";
  }
  return "?";
}

void ConvS8::pack(const std::int8_t*, void*, const Parallel&) const {
  throw std::logic_error("conv_s8: this product has no weights to pack");
}

void ConvS8::begin_pack(void*) const {
  throw std::logic_error("conv_s8: this product takes its weights as a whole");
}

void ConvS8::pack_block(const WeightBlock&, const std::int8_t*, std::int64_t, void*) const {
  throw std::logic_error("conv_s8: this product takes its weights as a whole");
}

void ConvS8::pack_planes(const std::int8_t* weights, std::int64_t stride, int planes, void* packed,
                         const Parallel& parallel) const {
  for (int plane = 0; plane < planes; ++plane)
    pack(weights + plane * stride, static_cast<std::uint8_t*>(packed) + plane * packed_stride(), parallel);
}

std::int64_t ConvS8::scratch_bytes(const ConvArgs&) const { return 0; }

bool ConvS8::takes_parts(const ConvArgs&, const ResultParts&) const { return false; }

void ConvS8::run_parts(const ConvArgs&, const ResultParts&, const Parallel&) const {
  throw std::logic_error("conv_s8: this product takes no parts");
}

std::span<const ConvS8Candidate> conv_s8_candidates() {
#define OCTAVO_CONV_S8(candidate) candidate,
  static const ConvS8Candidate list[] = {
#include "kernel_list.inc"
  };
#undef OCTAVO_CONV_S8
  return list;
}

const ConvS8Candidate& find_conv_s8(const ConvShape& shape, Product product,
                                    const std::function<void(std::string)>& log) {
  for (const ConvS8Candidate& candidate : conv_s8_candidates()) {
    std::string reason;
    if (candidate.isa > active_isa())
      reason = std::string("active instruction set is ") + isa_name(active_isa());
    else
      reason = candidate.refuse(shape, product);
    if (reason.empty()) return candidate;
    if (log) log(std::string(candidate.name) + " refuses " + product_name(product) + ": " + reason);
  }
  throw std::logic_error("conv_s8: the list has no candidate that takes every shape");
}

}  // namespace octavo::kernels
