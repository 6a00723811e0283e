// lora_case.hpp — random adapters of a few modules and a step of rows that take them, in host
// memory and on a device.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "kernels/cuda/lora_kernels.hpp"
#include "tests/kernels/cuda/device_arrays.hpp"
#include "tests/kernels/random_model.hpp"

namespace tessera {

inline constexpr int kEmbedding = 3;  // of the modules: three that share x, the embedding, the head
inline constexpr int kHead = 4;
inline constexpr int kNumModules = 5;

struct LoraShapes {
  int in_features;
  int out_features[3];
  int hidden;
  int vocab_size;

  LinearShape of(int module) const {
    if (module < 3) return {out_features[module], in_features};
    return module == kEmbedding ? LinearShape{hidden, vocab_size} : LinearShape{vocab_size, hidden};
  }
};

// One adapter's modules, in host memory that it owns.
struct Adapter {
  PageType type = PageType::kBf16;
  bool has_pairs_alone = false;
  LoraModule modules[kNumModules];
  RowOverrides embed_rows;
  RowOverrides head_rows;
  std::deque<std::vector<std::byte>> bytes;
  std::deque<std::vector<float>> floats;
  std::deque<std::vector<TokenId>> ids;

  const std::byte* keep(const void* data, std::size_t size) {
    const auto* from = static_cast<const std::byte*>(data);
    return bytes.emplace_back(from, from + size).data();
  }
};

// A step of rows that each have a list of terms.
struct LoraCase {
  LoraShapes shapes;
  std::shared_ptr<const std::deque<Adapter>> adapters;
  std::vector<std::vector<MixTerm>> terms;  // of each row
  std::vector<TokenId> tokens;
  std::vector<float> x;  // (rows, in_features)
  std::vector<std::int32_t> head_rows;

  int num_rows() const { return static_cast<int>(terms.size()); }
  const Adapter& adapter(const MixTerm& term) const {
    return (*adapters)[static_cast<std::size_t>(term.slot)];
  }
  // Some of its rows as a step of their own.
  LoraCase only(const std::vector<int>& rows) const;
};

// Crowded: one adapter may have many rows, so that both forms of shrink are used.
LoraCase random_lora_case(Random& random, const LoraShapes& shapes, bool may_be_crowded);

// The adapters and the step in device memory.
class LoraOnDevice {
 public:
  explicit LoraOnDevice(const LoraCase& drawn) : case_(drawn), arrays_(stream_) {
    for (const Adapter& adapter : *drawn.adapters) add(adapter);
    work_.table = {arrays_.keep(entries_), arrays_.keep(embed_rows_), arrays_.keep(head_rows_),
                   kNumModules, static_cast<std::int32_t>(drawn.adapters->size())};
    work_.limits = {drawn.num_rows(), 72, std::max(drawn.shapes.in_features, drawn.shapes.hidden)};
    workspace_ = poisoned<std::byte>(stream_, lora_workspace_bytes(work_.limits));
    work_.workspace = workspace_.data();
    std::vector<MixTerm> terms;
    for (const auto& row : drawn.terms) {
      for (std::size_t t = 0; t < kMaxMixTerms; ++t) {
        terms.push_back(t < row.size() ? row[t] : MixTerm{});
      }
    }
    const StepCounts counts{drawn.num_rows(), 1, static_cast<std::int32_t>(drawn.head_rows.size())};
    work_.step.counts = arrays_.keep(std::vector<StepCounts>{counts});
    work_.step.tokens = arrays_.keep(drawn.tokens);
    work_.step.head_rows = arrays_.keep(drawn.head_rows);
    work_.step.terms = arrays_.keep(terms);
    plan_lora(stream_, work_, drawn.num_rows());
  }

  CudaStream& stream() { return stream_; }
  const LoraWork& work() const { return work_; }

  // y of the three sites that share x: `base` and what adapters add to it.
  std::vector<float> apply(float base) {
    const LoraShapes& shapes = case_.shapes;
    const int stride = *std::max_element(shapes.out_features, shapes.out_features + 3) + 5;
    const DeviceBuffer<float> x = to_device(stream_, case_.x);
    auto y = to_device(
        stream_, std::vector<float>(static_cast<std::size_t>(3 * case_.num_rows() * stride), base));
    LoraModules modules;
    modules.count = 3;
    modules.in_features = shapes.in_features;
    modules.x = x.data();
    modules.y_stride = stride;
    for (int site = 0; site < 3; ++site) {
      modules.out_features[site] = shapes.out_features[site];
      modules.y[site] = y.data() + site * case_.num_rows() * stride;
    }
    apply_lora(stream_, work_, modules, case_.num_rows());
    return to_host(stream_, y);
  }

  std::vector<float> embed(const std::vector<float>& base) {
    auto x = to_device(stream_, base);
    apply_lora_to_embedding(stream_, work_, case_.shapes.vocab_size, case_.shapes.hidden, x.data(),
                            case_.num_rows());
    return to_host(stream_, x);
  }

  std::vector<float> head(const std::vector<float>& normed, const std::vector<float>& base) {
    const DeviceBuffer<float> x = to_device(stream_, normed);
    auto y = to_device(stream_, base);
    const auto count = static_cast<int>(case_.head_rows.size());
    replace_logits(stream_, work_, case_.shapes.vocab_size, case_.shapes.hidden, x.data(), y.data(),
                   count);
    LoraModules modules;
    modules.first_module = kHead;
    modules.in_features = case_.shapes.hidden;
    modules.out_features[0] = case_.shapes.vocab_size;
    modules.x = x.data();
    modules.y[0] = y.data();
    modules.y_stride = case_.shapes.vocab_size;
    modules.of_head_rows = true;
    apply_lora(stream_, work_, modules, count);
    return to_host(stream_, y);
  }

 private:
  void add(const Adapter& adapter) {
    for (int i = 0; i < kNumModules; ++i) {
      const LoraModule& module = adapter.modules[i];
      const LinearShape shape = case_.shapes.of(i);
      const int ranks = pages_of_rank(module.rank) * kRanksPerPage;
      LoraEntry entry;
      entry.rank = module.rank;
      entry.type = adapter.type;
      entry.pages = pages_of(module, adapter.type, shape);
      entry.scales = copied(module.scales, static_cast<std::size_t>(ranks));
      entry.out_scale = copied(module.out_scale, static_cast<std::size_t>(shape.out_features));
      entry.bias = copied(module.bias, static_cast<std::size_t>(shape.out_features));
      entries_.push_back(entry);
    }
    embed_rows_.push_back(own_rows(adapter.embed_rows));
    head_rows_.push_back(own_rows(adapter.head_rows));
  }
  // Each half of each page in memory of its own.
  const LoraPage* pages_of(const LoraModule& module, PageType type, LinearShape shape) {
    const auto bytes = [&](int features) {
      return static_cast<std::size_t>(features * kRanksPerPage) * element_bytes(type);
    };
    std::vector<LoraPage> pages(static_cast<std::size_t>(pages_of_rank(module.rank)));
    for (std::size_t i = 0; i < pages.size(); ++i) {
      const std::size_t a_bytes = bytes(shape.in_features);
      const std::size_t b_bytes = bytes(shape.out_features);
      pages[i] = {copied(module.a + i * a_bytes, a_bytes), copied(module.b + i * b_bytes, b_bytes)};
    }
    return arrays_.keep(pages);
  }
  template <class T>
  const T* copied(const T* data, std::size_t count) {
    return data == nullptr ? nullptr : arrays_.keep(std::vector<T>(data, data + count));
  }
  LoraRows own_rows(const RowOverrides& rows) {
    if (rows.ids.empty()) return {};
    const auto count = rows.ids.size() * static_cast<std::size_t>(case_.shapes.hidden);
    return {copied(rows.ids.data(), rows.ids.size()),
            copied(reinterpret_cast<const std::uint16_t*>(rows.rows), count),
            static_cast<std::int32_t>(rows.ids.size())};
  }

  const LoraCase& case_;
  CudaStream stream_;
  DeviceArrays arrays_;
  std::vector<LoraEntry> entries_;
  std::vector<LoraRows> embed_rows_;
  std::vector<LoraRows> head_rows_;
  DeviceBuffer<std::byte> workspace_;
  LoraWork work_;
};

}  // namespace tessera
