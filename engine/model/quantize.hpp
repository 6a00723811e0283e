// quantize.hpp — a model as its owner has it to one packed file, a tensor at a time.
//
// Reads what ModelSource opens: a Hugging Face directory, plain or quantised, or a GGUF file. A
// matrix that is kept quantised in a form which the packed file has is taken with its codes
// unchanged. Of the others, the linears become what `linears` says (NF4 with double quantisation),
// embedding and head what `embedding` and `head` say (bf16); but in a checkpoint that is quantised,
// linears that the tool left alone stay bf16. Norms, biases and routers are fp32.
//
// Memory: a few rows of the tensor at hand in fp32, and what becomes of it; and as much of the
// mapped source as one matrix is long. An interrupted run continues where it was
// (packed_writer.hpp) if source and options are the same. The result appears under its name only
// when it is complete and synced.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/packed_model.hpp"
#include "kernels/quantisers.hpp"

namespace tessera {

struct QuantizeProgress {
  std::string_view tensor = {};  // the one just written
  int done = 0;                  // tensors written
  int total = 0;
  std::uintmax_t bytes_done = 0;  // of the source's tensors
  std::uintmax_t bytes_total = 0;
};

struct QuantizeOptions {
  std::string name = {};  // served model name; empty: the source's
  QuantForm linears = QuantForm::kNf4;
  std::optional<QuantForm> embedding = {};  // nothing: as it is kept, or bf16
  std::optional<QuantForm> head = {};       // the same; of no effect on a tied head
  bool restart = false;                     // do not continue an interrupted run
};

// Matrices that went the same way.
struct QuantizeGroup {
  std::string from = {};   // "BF16", "Q4_K", "GPTQ 4-bit"
  std::string to = {};     // "nf4 (double-quantised)"
  bool unchanged = false;  // codes as they were
  int matrices = 0;
  std::uintmax_t weights = 0;
};

struct QuantizeSummary {
  BaseDigest digest;
  std::uintmax_t source_bytes = 0;  // of the weights read
  std::uintmax_t packed_bytes = 0;  // of the file written
  std::vector<QuantizeGroup> groups;
  int resumed = 0;  // tensors that an earlier run had written
};

// Errors: kNotFound if a file is missing; kInvalidJson, kCorrupt or kUnsupportedModel naming the
// file, field or tensor; kIo, kStorageFull; kConflict if another process writes the same file. On
// an error nothing is left at `destination`; beside it there is what a next run can continue if the
// disk failed, else nothing.
Result<QuantizeSummary> quantize_model(
    const std::filesystem::path& source, const std::filesystem::path& destination,
    const QuantizeOptions& options = {},
    const std::function<void(const QuantizeProgress&)>& progress = {});

}  // namespace tessera
