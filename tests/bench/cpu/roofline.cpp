#include "tests/bench/cpu/roofline.hpp"

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <functional>
#include <new>
#include <thread>
#include <vector>

#include <sys/mman.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace tessera {
namespace {

constexpr std::size_t kMemoryBytes = std::size_t{1} << 30;
constexpr std::size_t kWords = kMemoryBytes / sizeof(std::uint64_t);
constexpr int kPasses = 5;

// Results go here, so that no loop can be left out.
volatile std::uint64_t g_sink;

// Seconds that `num_threads` threads need for work(thread), begun together. Each takes its own
// times: a thread that waited for the others might be woken late.
double seconds_of(int num_threads, const std::function<void(int)>& work) {
  using Clock = std::chrono::steady_clock;
  struct Span {
    Clock::time_point begin, end;
  };
  std::vector<Span> spans(static_cast<std::size_t>(num_threads));
  std::barrier start(num_threads);
  {
    std::vector<std::jthread> threads;
    threads.reserve(spans.size());
    for (int i = 0; i < num_threads; ++i) {
      threads.emplace_back([&, i] {
        start.arrive_and_wait();
        const auto begin = Clock::now();
        work(i);
        spans[static_cast<std::size_t>(i)] = {begin, Clock::now()};
      });
    }
  }
  const auto begin = std::ranges::min(spans, {}, &Span::begin).begin;
  const auto end = std::ranges::max(spans, {}, &Span::end).end;
  return std::chrono::duration<double>(end - begin).count();
}

#if defined(__x86_64__)
#define TESSERA_BEST_VECTORS __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define TESSERA_BEST_VECTORS
#endif

// Eight independent sums: the loads, not the additions, decide how long it takes.
TESSERA_BEST_VECTORS std::uint64_t sum_words(const std::uint64_t* words, std::size_t count) {
  constexpr std::size_t kLanes = 64;
  std::uint64_t sums[kLanes] = {};
  for (std::size_t i = 0; i < count; i += kLanes) {
    for (std::size_t j = 0; j < kLanes; ++j) sums[j] += words[i + j];
  }
  std::uint64_t total = 0;
  for (const std::uint64_t sum : sums) total += sum;
  return total;
}

// One way to multiply: `loop(n)` does n rounds of `flops_a_round` and returns something of them.
struct ComputeLoop {
  std::string_view unit;
  double flops_a_round;
  float (*loop)(std::int64_t rounds);
};

// Fourteen independent chains cover the latency of every multiply-add there is.
constexpr int kChains = 14;

float multiply_portable(std::int64_t rounds) {
  float sums[kChains] = {};
  for (std::int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 14
    for (float& sum : sums) sum = sum * 0.5F + 1.0F;
  }
  float total = 0.0F;
#pragma GCC unroll 14
  for (const float sum : sums) total += sum;
  return total;
}
constexpr ComputeLoop kPortable = {"portable fp32", 2.0 * kChains, multiply_portable};

#if defined(__x86_64__)

// The compiler must believe that each sum is changed, or it would take the chains for one.
#define TESSERA_KEEP(registers, value) asm volatile("" : "+" registers(value))

__attribute__((target("avx2,fma"))) float multiply_avx2(std::int64_t rounds) {
  __m256 sums[kChains] = {};
  const __m256 factor = _mm256_set1_ps(0.5F);
  for (std::int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 14
    for (__m256& sum : sums) {
      sum = _mm256_fmadd_ps(factor, factor, sum);
      TESSERA_KEEP("x", sum);
    }
  }
  __m256 total = sums[0];
#pragma GCC unroll 14
  for (int i = 1; i < kChains; ++i) total = _mm256_add_ps(total, sums[i]);
  return _mm256_cvtss_f32(total);
}
constexpr ComputeLoop kAvx2 = {"AVX2 fp32", 2.0 * 8 * kChains, multiply_avx2};

__attribute__((target("avx512f"))) float multiply_avx512(std::int64_t rounds) {
  __m512 sums[kChains] = {};
  const __m512 factor = _mm512_set1_ps(0.5F);
  for (std::int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 14
    for (__m512& sum : sums) {
      sum = _mm512_fmadd_ps(factor, factor, sum);
      TESSERA_KEEP("v", sum);
    }
  }
  __m512 total = sums[0];
#pragma GCC unroll 14
  for (int i = 1; i < kChains; ++i) total = _mm512_add_ps(total, sums[i]);
  return _mm512_cvtss_f32(total);
}
constexpr ComputeLoop kAvx512 = {"AVX-512 fp32", 2.0 * 16 * kChains, multiply_avx512};

__attribute__((target("avx512f,avx512bf16"))) float multiply_avx512_bf16(std::int64_t rounds) {
  __m512 sums[kChains] = {};
  // 0.5 everywhere
  const auto factor = reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3F003F00));
  for (std::int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 14
    for (__m512& sum : sums) {
      sum = _mm512_dpbf16_ps(sum, factor, factor);
      TESSERA_KEEP("v", sum);
    }
  }
  __m512 total = sums[0];
#pragma GCC unroll 14
  for (int i = 1; i < kChains; ++i) total = _mm512_add_ps(total, sums[i]);
  return _mm512_cvtss_f32(total);
}
constexpr ComputeLoop kAvx512Bf16 = {"AVX-512 bf16", 2.0 * 32 * kChains, multiply_avx512_bf16};

// Eight tiles of 16 rows of 64 bytes: four sums, two left factors, two right factors.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// A loop's tiles, loaded with `values`, and what its first sum came to.
#define TESSERA_BEGIN_TILES(values) \
  const TileConfig config;          \
  _tile_loadconfig(&config);        \
  _tile_zero(0);                    \
  _tile_zero(1);                    \
  _tile_zero(2);                    \
  _tile_zero(3);                    \
  _tile_loadd(4, values, 64);       \
  _tile_loadd(5, values, 64);       \
  _tile_loadd(6, values, 64);       \
  _tile_loadd(7, values, 64)
#define TESSERA_END_TILES(values) \
  _tile_stored(0, values, 64);    \
  _tile_release()

__attribute__((target("amx-tile,amx-bf16"))) float multiply_amx_bf16(std::int64_t rounds) {
  alignas(64) float values[16 * 16] = {};
  TESSERA_BEGIN_TILES(values);
  for (std::int64_t i = 0; i < rounds; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  TESSERA_END_TILES(values);
  return values[0];
}
constexpr ComputeLoop kAmxBf16 = {"AMX bf16", 4 * 2.0 * 16 * 16 * 32, multiply_amx_bf16};

__attribute__((target("amx-tile,amx-int8"))) float multiply_amx_int8(std::int64_t rounds) {
  alignas(64) std::int32_t values[16 * 16] = {};
  TESSERA_BEGIN_TILES(values);
  for (std::int64_t i = 0; i < rounds; ++i) {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  TESSERA_END_TILES(values);
  return static_cast<float>(values[0]);
}
constexpr ComputeLoop kAmxInt8 = {"AMX int8", 4 * 2.0 * 16 * 16 * 64, multiply_amx_int8};

// The processor has AMX and Linux lets this process use its tiles (arch_prctl(2)).
bool may_use_amx_for_both() {
  constexpr unsigned kAmx = 1U << 22 | 1U << 24 | 1U << 25;  // CPUID leaf 7, EDX: bf16, tile, int8
  constexpr long kRequestPermission = 0x1023;                // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;                             // XFEATURE_XTILEDATA
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx & kAmx) == kAmx &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

std::vector<ComputeLoop> compute_loops() {
  if (may_use_amx_for_both()) return {kAmxBf16, kAmxInt8};
  if (__builtin_cpu_supports("avx512bf16")) return {kAvx512Bf16};
  if (__builtin_cpu_supports("avx512f")) return {kAvx512};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return {kAvx2};
  return {kPortable};
}

#else

std::vector<ComputeLoop> compute_loops() {
  return {kPortable};
}

#endif

std::uint64_t* map_memory() {
  void* memory =
      mmap(nullptr, kMemoryBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  madvise(memory, kMemoryBytes, MADV_HUGEPAGE);  // where the kernel allows it
  return static_cast<std::uint64_t*>(memory);
}

}  // namespace

Roofline::Roofline(int num_threads) : num_threads_(num_threads), memory_(map_memory()) {
  std::fill_n(memory_.get(), kWords, 1);
}

void Roofline::Unmap::operator()(std::uint64_t* memory) const {
  munmap(memory, kMemoryBytes);
}

double Roofline::read_bandwidth() const {
  constexpr std::size_t kGrain = 4096;  // words
  const auto part = kWords / static_cast<std::size_t>(num_threads_) / kGrain * kGrain;
  double best = 0.0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const double seconds = seconds_of(num_threads_, [&](int thread) {
      g_sink = sum_words(memory_.get() + static_cast<std::size_t>(thread) * part, part);
    });
    const auto bytes = static_cast<double>(part * sizeof(std::uint64_t)) * num_threads_;
    best = std::max(best, bytes / seconds);
  }
  return best;
}

std::vector<ComputeRate> Roofline::compute_rates() const {
  constexpr double kFlopsAPass = 5e9;  // of one thread: some hundredths of a second
  std::vector<ComputeRate> rates;
  for (const ComputeLoop& multiply : compute_loops()) {
    const auto rounds = static_cast<std::int64_t>(kFlopsAPass / multiply.flops_a_round);
    const double flops = multiply.flops_a_round * static_cast<double>(rounds) * num_threads_;
    double best = 0.0;
    for (int pass = 0; pass < kPasses; ++pass) {
      const double seconds = seconds_of(
          num_threads_, [&](int) { g_sink = static_cast<std::uint64_t>(multiply.loop(rounds)); });
      best = std::max(best, flops / seconds);
    }
    rates.push_back({multiply.unit, best});
  }
  return rates;
}

}  // namespace tessera
