// backend.hpp — [seam] the stages a transformer step is made of, for one device.
//
// A step is: begin, embed, then for each layer qkv, attention, o_proj, gate_up, down, then head.
// The seam is drawn at the stage because that is what a device fuses: normalisation, projection,
// LoRA, bias, rotation and cache write are one launch. A backend owns the activations of the step,
// the KV blocks and the adapters given to it; the caller owns weights and adapter pages and keeps
// them alive. ReferenceBackend is plain fp32 loops and the specification; every other backend must
// agree with it (tests/kernels runs each test against all that are present).
//
// P2, non-interference: a row's results are bit-identical whatever other rows are in the step. So a
// reduction's order is a function of the model's shape and the row's position, never of the batch.
//
// Not thread-safe: owned and called by the engine thread alone. No call allocates after
// construction, except add_adapter and remove_adapter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/drawing.hpp"
#include "kernels/lora.hpp"
#include "kernels/memory_division.hpp"
#include "kernels/model_spec.hpp"
#include "kernels/weights.hpp"

namespace tessera {

using BlockId = std::int32_t;

// One step's rows. A row is one token of one sequence; the rows of a sequence are adjacent and in
// order of position. Host arrays, valid until head() has returned.
struct StepInput {
  std::span<const TokenId> tokens;           // (rows,)
  std::span<const std::int32_t> positions;   // (rows,) position in the sequence, from 0
  std::span<const std::int32_t> seq_indptr;  // (seqs + 1,) rows of sequence s: [s], [s + 1]
  // Block tables, ragged: sequence s owns blocks[block_indptr[s] .. block_indptr[s + 1]), enough
  // to hold its last position; position p lives in block [p / block_size].
  std::span<const BlockId> blocks;
  std::span<const std::int32_t> block_indptr;  // (seqs + 1,)
  std::span<const AdapterSlot> slots;          // (seqs,) adapter of each sequence, or kNoAdapter
  std::span<const std::int32_t> head_rows;     // (logit rows,) rows whose logits are wanted
  // Sequences that may outgrow RopeSpec::short_positions (prompt and all that may be generated),
  // of a model that has LongRoPE: from their first position they turn by the long frequencies,
  // so that a key never depends on when its sequence grew. (seqs,) of 0 or 1; empty: none.
  std::span<const std::uint8_t> long_rope = {};
  // The first position at which each sequence's adapter, or mix, applies; rows before it are the
  // base's in every respect (activated LoRA). (seqs,), empty: 0.
  std::span<const std::int32_t> lora_start = {};
  // Sequences that mix adapters, ragged: sequence s has the terms mixes[mix_indptr[s] ..
  // mix_indptr[s + 1]), at most kMaxMixTerms of different slots, added in that order; its slots[s]
  // is then kNoAdapter. Empty: nobody mixes.
  std::span<const MixTerm> mixes = {};
  std::span<const std::int32_t> mix_indptr = {};  // (seqs + 1,)
  // Rows whose final hidden states are wanted, each once: what the output head reads of them.
  std::span<const std::int32_t> state_rows = {};  // (state rows,)
};

// What the output head is multiplied in. It is the largest matrix of a small model, and in bf16
// half of what a step of a 1B model reads; in 8 bits with a scale for each 64 weights, a quarter.
enum class HeadForm : std::uint8_t { kBf16, kInt8 };

// What keys and values are kept in: fp16, or integers of 8 bits with a scale for each key and each
// value of a head, of which a long context's step reads little more than half.
enum class KvForm : std::uint8_t { kF16, kInt8 };

struct BackendLimits {
  int max_rows = 512;                    // tokens in a step
  int max_seqs = 64;                     // sequences in a step
  int max_logit_rows = 80;               // rows whose logits one step may ask for
  int num_blocks = 256;                  // KV blocks in the pool; CUDA takes 0: what `memory` gives
  int block_size = 16;                   // positions a block holds: a power of two, at most 256
  int max_rank = 256;                    // largest rank of an adapter
  int max_adapters = 256;                // CUDA only: adapters there may be at once
  MemoryWishes memory = {};              // CUDA only: of KV blocks, if num_blocks is 0; of adapters
  int num_threads = 0;                   // CPU only; 0: one per core
  HeadForm head_form = HeadForm::kBf16;  // CPU and CUDA; of a head in bf16
  KvForm kv_form = KvForm::kF16;         // CPU and CUDA
  bool pin_threads = false;              // CPU only: each thread to a core of its own
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string_view name() const = 0;  // "reference", "cpu-avx512", ...
  // The page type that add_adapter wants. The reference and the CPU take kInt8 as well, adapter by
  // adapter.
  virtual PageType page_type() const = 0;
  // Bytes of the base's weights that a step reads, the head among them; 0 if it is not told.
  virtual std::size_t weight_bytes() const { return 0; }
  // How a device's own memory was divided; null where there is none.
  virtual const MemoryDivision* memory() const { return nullptr; }

  // Host memory that a device's copies read where it lies, for the pages of adapters; it may
  // outlive the backend. Null: none is to be had, or there is no device. Takes a second for each
  // few gigabytes.
  virtual std::shared_ptr<std::byte> pinned_memory(std::size_t /*bytes*/) { return nullptr; }

  // Makes an adapter usable in steps. The pages must stay alive until remove_adapter. kNoAdapter if
  // a device's slots or memory do not suffice for it beside those that it has now.
  virtual AdapterSlot add_adapter(const LoraView& adapter) = 0;
  virtual void remove_adapter(AdapterSlot slot) = 0;

  // On a device whose KV blocks and adapters share memory. At the start adapters have that of the
  // blocks from memory()->num_blocks up to blocks_in_all; between steps it goes to and fro.
  struct AdapterMemory {
    std::size_t bytes = 0;       // of the blocks that are lent
    std::size_t free_bytes = 0;  // of those, what no adapter fills
  };
  virtual AdapterMemory adapter_memory() const { return {}; }
  // Nobody uses these KV blocks: their memory is adapters'.
  virtual void lend_blocks(std::span<const BlockId> /*blocks*/) {}
  // Up to `most` lent blocks that hold nothing of adapters' are KV's again; appended to `blocks`.
  virtual void take_blocks(int /*most*/, std::vector<BlockId>& /*blocks*/) {}

  // For the thread that runs the steps, once, before the first: what belongs to a thread.
  virtual void enter() {}

  // Gives the memory of these KV blocks back to the system where it can; they are written before
  // they are read again. Between steps. CPU only.
  virtual void discard_blocks(std::span<const BlockId> /*blocks*/) {}

  // The stages, in this order; `layer` counts from 0.
  virtual void begin(const StepInput& input) = 0;
  virtual void embed() = 0;               // x = E[token] (+ LoRA)
  virtual void qkv(int layer) = 0;        // RMSNorm, q k v projections + LoRA, bias, RoPE, KV write
  virtual void attention(int layer) = 0;  // causal, over the pages of each row's sequence
  virtual void o_proj(int layer) = 0;     // x += o_proj(attention) (+ LoRA)
  virtual void gate_up(int layer) = 0;    // RMSNorm, h = silu(gate) * up (+ LoRA)
  virtual void down(int layer) = 0;       // x += down(h) (+ LoRA)
  virtual void head() = 0;                // RMSNorm, states of state_rows, logits of head_rows

  // Whether draw() is to be asked at all.
  virtual bool draws() const { return false; }
  // After head(): draws the tokens of these rows where their logits are, so that none of them has
  // to come to the host. The results, in order, are valid until the next begin(). Empty if these
  // rows are more than there is room for: the caller then draws the same tokens from logits().
  virtual std::span<const DrawnToken> draw(std::span<const DrawRow> /*rows*/) { return {}; }

  // Logits (vocab_size,) of head_rows[i], in fp32 on the host; valid until the next begin().
  virtual std::span<const float> logits(int i) = 0;
  // The residual stream (hidden,) of state_rows[i] after the final norm, in fp32 on the host; valid
  // until the next begin().
  virtual std::span<const float> state(int i) = 0;
  // The residual stream x (rows, hidden) after the last stage called, for tests.
  virtual std::span<const float> residual() = 0;
};

// `weights` is a view whose memory outlives the backend.
std::unique_ptr<Backend> make_reference_backend(const ModelWeights& weights,
                                                const BackendLimits& limits);
// Chooses AMX, AVX-512 with VNNI, AVX-512, AVX2 or the portable path at run time; `force` (or the
// variable TESSERA_CPU) is one of "amx", "avx512vnni", "avx512", "avx2", "portable", or empty for
// the best one. Throws std::invalid_argument if the machine does not have what was forced.
std::unique_ptr<Backend> make_cpu_backend(const ModelWeights& weights, const BackendLimits& limits,
                                          std::string_view force = {});

}  // namespace tessera
