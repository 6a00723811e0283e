// step_bench.hpp — whole steps of a backend, timed, and what each of them owes the machine.
//
// A case is `seqs` sequences with `tokens` new tokens each. One token is decoding, after
// kDecodeContext others; more are a prompt from its start, to the logits of its last token, in
// steps of as many rows as a backend takes. Of `adapters` adapters, sequence i uses the i-th,
// counted round, whose rank is the i-th of `ranks`, counted round; none is the base alone.
#pragma once

#include <map>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/backend.hpp"
#include "tests/bench/cpu/bench_model.hpp"

namespace tessera {

struct StepCase {
  int seqs;
  int tokens;
  int adapters;
  std::vector<int> ranks;
};

inline constexpr int kDecodeContext = 128;

// Not thread-safe.
class StepBench {
 public:
  explicit StepBench(const ModelSpec& spec, int num_threads);

  std::string_view backend_name() const { return backend_->name(); }

  // Seconds of each of `steps` steps; when decoding, one before them is not counted.
  std::vector<double> run(const StepCase& step_case, int steps);

  // Bytes that such a step has to read: the base's weights in the form the backend keeps them in,
  // the embedding's rows in bf16, each used adapter once, and every sequence's keys and values in
  // fp16.
  double bytes_due(const StepCase& step_case);

  // Multiplications and additions of such a step's linears, attention and logits.
  double flops_due(const StepCase& step_case) const;

 private:
  struct Adapter {
    BenchAdapter pages;
    AdapterSlot slot;
  };

  double case_seconds(const StepCase& step_case, int first_position);
  void fill_cache(int seqs);
  const Adapter& adapter(const StepCase& step_case, int seq);
  std::vector<AdapterSlot> slots(const StepCase& step_case);

  BenchModel model_;
  BackendLimits limits_;
  std::unique_ptr<Backend> backend_;
  std::map<std::pair<int, int>, std::unique_ptr<Adapter>> adapters_;  // by number and rank
  int filled_seqs_ = 0;  // sequences whose cache holds kDecodeContext positions
};

}  // namespace tessera
