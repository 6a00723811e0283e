#include "kernels/cpu/cpu_experts.hpp"

#include <algorithm>
#include <array>

namespace tessera {
namespace {

constexpr int kTilesPerBlock = kNf4Block / kTileFeatures;

const CpuExpert& expert_of(const ExpertStep& step, const ExpertGroup& group) {
  return step.layer.experts[static_cast<std::size_t>(group.expert)];
}

float* row_of(Rows rows, int i) {
  return rows.data + static_cast<std::size_t>(i) * rows.stride;
}

const float* row_of(ConstRows rows, int i) {
  return rows.data + static_cast<std::size_t>(i) * rows.stride;
}

}  // namespace

CpuExperts::CpuExperts(const ModelSpec& spec, const BackendLimits& limits, const ModelNeeds& needs,
                       const LoraAdapters& adapters, const KernelTable& kernels, ThreadPool& pool)
    : spec_(spec),
      kernels_(kernels),
      pool_(pool),
      routes_(spec, limits.max_rows),
      terms_(static_cast<std::size_t>(routes_.max_places())),
      low_rank_(routes_.max_places(), 2, adapters, kernels),
      logits_(spec.num_experts == 0 ? 0 : limits.max_rows, spec.num_experts),
      x_(routes_.max_places(), spec.hidden, kernels, needs.expert_gate_up.integers,
         needs.expert_gate_up.max_orders),
      gate_(routes_.max_places(), spec.expert_intermediate, kernels, needs.expert_down.integers,
            needs.expert_down.max_orders),
      up_(routes_.max_places(), spec.expert_intermediate),
      outputs_(routes_.max_places(), spec.hidden) {
  plans_.reserve(static_cast<std::size_t>(spec.num_experts));
  for (int i = 0; i < spec.num_experts; ++i) plans_.emplace_back(limits.max_rows, limits.max_seqs);
}

void CpuExperts::gate_up(const ExpertStep& step, ConstRows x) {
  route(step, x);
  plan_lora(step);
  gather(step, x);
  constexpr std::array<Linear, 2> kLinears = {Linear::kGate, Linear::kUp};
  shrink(step, kLinears, spec_.hidden, x_.const_view());
  const auto activation = spec_.layers[static_cast<std::size_t>(step.layer_index)].activation;
  const auto multiply =
      activation == Activation::kSilu ? kernels_.silu_multiply : kernels_.gelu_multiply;
  pool_.run([&](int thread) {
    const int blocks = spec_.expert_intermediate / kNf4Block;
    const auto work = [&](const ExpertGroup& group, Range mine) {
      const Range tiles{mine.begin * kTilesPerBlock, mine.end * kTilesPerBlock};
      project(step, group, Linear::kGate, 0, tiles, x_, gate_.view());
      project(step, group, Linear::kUp, 1, tiles, x_, up_.view());
      const bool finishes = StageRows::finishes_blocks(expert_of(step, group).down);
      for (int place = group.first; place < group.first + group.rows; ++place) {
        multiply(gate_.row(place) + mine.begin * kNf4Block, up_.row(place) + mine.begin * kNf4Block,
                 (mine.end - mine.begin) * kNf4Block);
        if (finishes) gate_.finish(place, mine);
      }
    };
    routes_.for_each_share(blocks, thread, pool_.num_threads(), work);
  });
  finish_gated(step);
}

void CpuExperts::down(const ExpertStep& step, Rows y) {
  constexpr std::array<Linear, 1> kLinears = {Linear::kDown};
  shrink(step, kLinears, spec_.expert_intermediate, gate_.const_view());
  pool_.run([&](int thread) {
    const auto work = [&](const ExpertGroup& group, Range tiles) {
      project(step, group, Linear::kDown, 0, tiles, gate_, outputs_.view());
    };
    routes_.for_each_share(num_tiles(spec_.hidden), thread, pool_.num_threads(), work);
  });
  pool_.run([&](int thread) {
    const Range columns = part_of(spec_.hidden / kTileFeatures, thread, pool_.num_threads());
    const int first = columns.begin * kTileFeatures;
    const int count = columns.end * kTileFeatures - first;
    for (int row = 0; row < step.num_rows; ++row) {
      float* sum = row_of(y, row) + first;
      std::fill_n(sum, count, 0.0F);
      for (const ExpertRoute& route : routes_.of_row(row)) {
        kernels_.add_scaled(sum, outputs_.row(route.place) + first, route.weight, count);
      }
    }
  });
}

// First each thread multiplies some experts' rows of the router with all rows of x.
void CpuExperts::route(const ExpertStep& step, ConstRows x) {
  pool_.run([&](int thread) {
    const Range mine = part_of(spec_.num_experts, thread, pool_.num_threads());
    const float* router = step.layer.router + static_cast<std::size_t>(mine.begin) *
                                                  static_cast<std::size_t>(spec_.hidden);
    for (int row = 0; row < step.num_rows; ++row) {
      kernels_.multiply_fp32(router, mine.end - mine.begin, spec_.hidden, row_of(x, row),
                             logits_.row(row) + mine.begin);
    }
  });
  pool_.run([&](int thread) {
    const Range rows = part_of(step.num_rows, thread, pool_.num_threads());
    for (int row = rows.begin; row < rows.end; ++row) {
      routes_.choose(row, {logits_.row(row), static_cast<std::size_t>(spec_.num_experts)});
    }
  });
  routes_.group(step.num_rows);
}

void CpuExperts::plan_lora(const ExpertStep& step) {
  has_lora_ = std::any_of(step.terms.begin(), step.terms.end(),
                          [](const RowTerms& terms) { return !terms.empty(); });
  if (!has_lora_) return;
  for (int row = 0; row < step.num_rows; ++row) {
    for (const ExpertRoute& route : routes_.of_row(row)) {
      terms_[static_cast<std::size_t>(route.place)] = step.terms[static_cast<std::size_t>(row)];
    }
  }
  for (const ExpertGroup& group : routes_.groups()) {
    const auto terms = std::span(terms_).subspan(static_cast<std::size_t>(group.first),
                                                 static_cast<std::size_t>(group.rows));
    plans_[static_cast<std::size_t>(group.expert)].build(terms, group.first);
  }
}

// A route is a task: few rows are shared out too.
void CpuExperts::gather(const ExpertStep& step, ConstRows x) {
  pool_.run([&](int thread) {
    Turns turns(thread, pool_.num_threads());
    for (int row = 0; row < step.num_rows; ++row) {
      for (const ExpertRoute& route : routes_.of_row(row)) {
        if (!turns.is_mine()) continue;
        std::copy_n(row_of(x, row), spec_.hidden, x_.row(route.place));
        const auto& expert = step.layer.experts[static_cast<std::size_t>(route.expert)];
        x_.finish(route.place, expert.gate_up);
      }
    }
  });
}

void CpuExperts::shrink(const ExpertStep& step, std::span<const Linear> linears, int in_features,
                        ConstRows x) {
  if (!has_lora_) return;
  pool_.run([&](int thread) {
    Turns turns(thread, pool_.num_threads());
    for (const ExpertGroup& group : routes_.groups()) {
      std::array<LoraSite, 2> sites;
      for (std::size_t i = 0; i < linears.size(); ++i) {
        sites[i] = {.layer = step.layer_index, .linear = linears[i], .expert = group.expert};
      }
      low_rank_.shrink(plans_[static_cast<std::size_t>(group.expert)],
                       std::span(sites).first(linears.size()), in_features, x, turns);
    }
  });
}

void CpuExperts::project(const ExpertStep& step, const ExpertGroup& group, Linear linear,
                         int site_index, Range tiles, const StageRows& x, Rows y) const {
  const auto index = static_cast<std::size_t>(linear) - static_cast<std::size_t>(Linear::kGate);
  const BaseLinear& base = expert_of(step, group).linears[index];
  base.weights.multiply()(base.weights.view(), tiles.begin, tiles.end,
                          x.activations(base.order, group.first), group.rows,
                          {row_of(y, group.first), y.stride});
  if (!has_lora_) return;
  const int out_features = base.weights.out_features();
  const LoraSite site{.layer = step.layer_index, .linear = linear, .expert = group.expert};
  low_rank_.expand(plans_[static_cast<std::size_t>(group.expert)], site, site_index, out_features,
                   {tiles.begin * kTileFeatures, std::min(tiles.end * kTileFeatures, out_features)},
                   y);
}

// Of experts whose down projection has an order of its own.
void CpuExperts::finish_gated(const ExpertStep& step) {
  const auto finishes = [&](const ExpertGroup& group) {
    return StageRows::finishes_blocks(expert_of(step, group).down);
  };
  const auto groups = routes_.groups();
  if (std::all_of(groups.begin(), groups.end(), finishes)) return;
  pool_.run([&](int thread) {
    Turns turns(thread, pool_.num_threads());
    for (const ExpertGroup& group : routes_.groups()) {
      if (finishes(group)) continue;
      for (int place = group.first; place < group.first + group.rows; ++place) {
        if (turns.is_mine()) gate_.finish(place, expert_of(step, group).down);
      }
    }
  });
}

}  // namespace tessera
