// attention.cu — attention_kernels.hpp: the workspace, and which kernel a head dimension has.
#include <algorithm>

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/attention_wide.cuh"
#include "kernels/cuda/launch.cuh"

namespace tessera {
namespace {

using namespace cuda;

constexpr unsigned kCtasPerMultiprocessor = 4;
constexpr unsigned kWideCtasPerMultiprocessor = 2;
constexpr std::size_t kStaticBytes = 1 << 10;  // of shared memory, that a kernel has at most
constexpr int kRecordsPerSequence = 16;        // splits of a row, where all sequences are as long

// (Split, row) records of all query heads; no more than sequences of one row can fill.
int max_records(const AttentionLimits& limits) {
  const int splits = limits.max_positions / kKvSplit + 1;
  return std::max(splits, std::min(splits, kRecordsPerSequence) * limits.max_seqs);
}

unsigned multiprocessors() {
  static const auto count = static_cast<unsigned>(num_multiprocessors());
  return count;
}

// From so many rows on a step may have a chunk of a prompt in it that is worth a launch.
constexpr int kWideRows = 128;

// Values in 8 bits take two products each, for which large heads leave no registers.
constexpr bool has_wide_form(int dim, bool is_int8) {
  return !is_int8 || dim <= 96;
}

template <int kDim, bool kInt8>
void launch_wide(CudaStream& stream, const AttendParams& params) {
  launch(stream, "attend_wide", attend_wide_kernel<kDim, kInt8>,
         {{kWideCtasPerMultiprocessor * multiprocessors()},
          {static_cast<unsigned>(kAttentionThreads)},
          WideScratch<kDim, kInt8>::bytes(params.call.limits.max_seqs)},
         params);
}

// Some devices have too little shared memory for a head of 256.
template <int kDim>
bool is_for_wide(const AttentionParams& call, int capacity) {
  const bool is_int8 = call.cache.form == KvForm::kInt8;
  const int seqs = call.limits.max_seqs;
  const std::size_t bytes =
      is_int8 ? WideScratch<kDim, true>::bytes(seqs) : WideScratch<kDim, false>::bytes(seqs);
  const bool is_wanted = call.width == AttentionWidth::kChosen
                             ? capacity >= kWideRows
                             : call.width == AttentionWidth::kWide;
  return is_wanted && has_wide_form(kDim, is_int8) &&
         bytes + kStaticBytes <= shared_bytes_of_block();
}

template <int kDim>
void launch_attend(CudaStream& stream, AttendParams params, int capacity) {
  const bool is_int8 = params.call.cache.form == KvForm::kInt8;
  params.has_wide = is_for_wide<kDim>(params.call, capacity);
  launch(stream, "attend", is_int8 ? attend_kernel<kDim, true> : attend_kernel<kDim, false>,
         {{kCtasPerMultiprocessor * multiprocessors()},
          {static_cast<unsigned>(kAttentionThreads)},
          attention_shared_bytes(kDim, params.call.limits.max_seqs)},
         params);
  if (!params.has_wide) return;
  if constexpr (has_wide_form(kDim, true)) {
    if (is_int8) return launch_wide<kDim, true>(stream, params);
  }
  launch_wide<kDim, false>(stream, params);
}

}  // namespace

std::size_t attention_workspace_bytes(const AttentionLimits& limits) {
  return static_cast<std::size_t>(max_records(limits)) *
         static_cast<std::size_t>(limits.num_heads * (limits.head_dim + 2)) * sizeof(float);
}

void attend(CudaStream& stream, const AttentionParams& call, int capacity) {
  AttendParams params{};
  params.call = call;
  params.records = reinterpret_cast<float*>(call.workspace);
  params.max_records = max_records(call.limits);
  params.group = call.limits.num_heads / call.cache.num_kv_heads;
  const int head_dim = call.cache.head_dim;
  if (head_dim <= 32) {
    launch_attend<32>(stream, params, capacity);
  } else if (head_dim <= 64) {
    launch_attend<64>(stream, params, capacity);
  } else if (head_dim <= 96) {
    launch_attend<96>(stream, params, capacity);
  } else if (head_dim <= 128) {
    launch_attend<128>(stream, params, capacity);
  } else {
    launch_attend<256>(stream, params, capacity);
  }
  launch(stream, "join_attention_records", join_records_kernel,
         {{multiprocessors()},
          {static_cast<unsigned>(kAttentionThreads)},
          2 * (static_cast<std::size_t>(call.limits.max_seqs) + 1) * sizeof(std::int32_t)},
         params);
}

}  // namespace tessera
