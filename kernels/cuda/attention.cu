// attention.cu — attention_kernels.hpp: the workspace, and which kernel a head dimension has.
#include <algorithm>

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/launch.cuh"

namespace tessera {
namespace {

using namespace cuda;

constexpr unsigned kCtasPerMultiprocessor = 4;
constexpr int kRecordsPerSequence = 16;  // splits of a row, where all sequences are as long

// (Split, row) records of all query heads; no more than sequences of one row can fill.
int max_records(const AttentionLimits& limits) {
  const int splits = limits.max_positions / kKvSplit + 1;
  return std::max(splits, std::min(splits, kRecordsPerSequence) * limits.max_seqs);
}

unsigned multiprocessors() {
  static const auto count = static_cast<unsigned>(num_multiprocessors());
  return count;
}

template <int kDim>
void launch_attend(CudaStream& stream, const AttendParams& params) {
  const bool is_int8 = params.call.cache.form == KvForm::kInt8;
  launch(stream, "attend", is_int8 ? attend_kernel<kDim, true> : attend_kernel<kDim, false>,
         {{kCtasPerMultiprocessor * multiprocessors()},
          {static_cast<unsigned>(kAttentionThreads)},
          attention_shared_bytes(kDim, params.call.limits.max_seqs)},
         params);
}

}  // namespace

std::size_t attention_workspace_bytes(const AttentionLimits& limits) {
  return static_cast<std::size_t>(max_records(limits)) *
         static_cast<std::size_t>(limits.num_heads * (limits.head_dim + 2)) * sizeof(float);
}

void attend(CudaStream& stream, const AttentionParams& call, int /*capacity*/) {
  AttendParams params{};
  params.call = call;
  params.records = reinterpret_cast<float*>(call.workspace);
  params.max_records = max_records(call.limits);
  params.group = call.limits.num_heads / call.cache.num_kv_heads;
  const int head_dim = call.cache.head_dim;
  if (head_dim <= 32) {
    launch_attend<32>(stream, params);
  } else if (head_dim <= 64) {
    launch_attend<64>(stream, params);
  } else if (head_dim <= 96) {
    launch_attend<96>(stream, params);
  } else if (head_dim <= 128) {
    launch_attend<128>(stream, params);
  } else {
    launch_attend<256>(stream, params);
  }
  launch(stream, "join_attention_records", join_records_kernel,
         {{multiprocessors()},
          {static_cast<unsigned>(kAttentionThreads)},
          2 * (static_cast<std::size_t>(call.limits.max_seqs) + 1) * sizeof(std::int32_t)},
         params);
}

}  // namespace tessera
