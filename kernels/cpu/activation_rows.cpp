#include "kernels/cpu/activation_rows.hpp"

#include <algorithm>
#include <cassert>

#include "kernels/cpu/amx_format.hpp"

namespace tessera {
namespace {

template <class Rows, class Columns>
std::size_t elements(Rows rows, Columns columns) {
  return static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns);
}

std::size_t groups_of(int rows, std::size_t size) {
  return (static_cast<std::size_t>(rows) + size - 1) / size;
}

}  // namespace

static_assert(kRowsTogether % kPanelRows == 0 && kRowsTogether % kSplitRows == 0);

MultipliedRows::MultipliedRows(int rows, int width, const KernelTable& kernels, IntegerNeeds needs)
    : ActivationRows(rows, width),
      kernels_(&kernels),
      has_integers_(kernels.quantise != nullptr && needs.integers),
      num_blocks_(width / kNf4Block),
      panel_(elements(kPanelRows, width) + 32),  // not a multiple of a page
      units_panel_(elements(kPanelRows, num_blocks_)),
      sums_panel_(kSumsPerBlock * units_panel_),
      group_bytes_(elements(num_blocks_ + 1, kSplitBlockBytes)) {  // likewise
  if (!has_integers_) return;
  const std::size_t panels = groups_of(rows, kPanelRows);
  integers_ = AlignedBuffer<std::int16_t>(panels * panel_);
  units_ = AlignedBuffer<float>(panels * units_panel_);
  if (needs.sums) sums_ = AlignedBuffer<float>(panels * sums_panel_);
  if (kernels.split == nullptr) return;
  digits_ = AlignedBuffer<std::byte>(groups_of(rows, kSplitRows) * group_bytes_);
}

void MultipliedRows::quantise(int i, Range blocks) {
  if (!has_integers_) return;
  const auto panel = static_cast<std::size_t>(i) / kPanelRows;
  const auto in_panel = static_cast<std::size_t>(i) % kPanelRows;
  const auto first = static_cast<std::size_t>(blocks.begin);
  const int count = blocks.end - blocks.begin;
  const float* x = row(i) + first * kNf4Block;
  std::int16_t* integers =
      integers_.data() + panel * panel_ + first * kNf4Block * kPanelRows + 2 * in_panel;
  float* units = units_.data() + panel * units_panel_ + first * kPanelRows + in_panel;
  kernels_->quantise(x, count, integers, units);
  if (sums_.size() > 0) {
    kernels_->sum_groups(
        integers, units, count,
        sums_.data() + panel * sums_panel_ + first * kSumsPerBlock * kPanelRows + in_panel);
  }
  if (digits_.size() > 0) {
    const auto group = static_cast<std::size_t>(i) / kSplitRows;
    const auto in_group = static_cast<std::size_t>(i) % kSplitRows;
    kernels_->split(x, count,
                    digits_.data() + group * group_bytes_ + first * kSplitBlockBytes +
                        in_group * kSplitRowBytes);
  }
}

Activations MultipliedRows::activations(int first_row) const {
  assert(first_row % kRowsTogether == 0);
  const auto row = static_cast<std::size_t>(first_row);
  Activations x = {.fp32 = const_view(first_row), .int16 = {}, .split = {}};
  if (!has_integers_) return x;
  const std::size_t panel = row / kPanelRows;
  x.int16 = {integers_.data() + panel * panel_,
             panel_,
             units_.data() + panel * units_panel_,
             units_panel_,
             sums_.size() > 0 ? sums_.data() + panel * sums_panel_ : nullptr,
             sums_panel_};
  if (digits_.size() > 0) {
    x.split = {digits_.data() + row / kSplitRows * group_bytes_, group_bytes_};
  }
  return x;
}

int StageOrders::add(const std::vector<std::int32_t>& order) {
  if (order.empty()) {
    wants_in_order_ = true;
    return kInOrder;
  }
  for (int i = 0; i < size_; ++i) {
    if ((*this)[i] == order) return i;
  }
  orders_[static_cast<std::size_t>(size_)] = &order;
  return size_++;
}

StageRows::StageRows(int rows, int width, const KernelTable& kernels, IntegerNeeds needs,
                     int max_orders)
    : rows_(rows, width, kernels, needs) {
  for (int i = 0; i < max_orders; ++i) reordered_.emplace_back(rows, width, kernels, needs);
}

void StageRows::finish(int i, const StageOrders& orders) {
  if (orders.wants_in_order()) rows_.quantise(i);
  for (int index = 0; index < orders.size(); ++index) reorder(i, index, orders);
}

void StageRows::reorder(int i, int index, const StageOrders& orders) {
  MultipliedRows& target = reordered_[static_cast<std::size_t>(index)];
  const float* x = rows_.row(i);
  float* y = target.row(i);
  for (const std::int32_t feature : orders[index]) *y++ = x[feature];
  target.quantise(i);
}

// Rows in turn; of x as it is, blocks, so that a single row is everybody's work.
void StageRows::finish_all(int num_rows, const StageOrders& orders, ThreadPool& pool) {
  if (orders.size() == 0 && !rows_.has_integers()) return;
  pool.run([&](int thread) {
    if (orders.size() > 0) {
      const Range mine = part_of(num_rows, thread, pool.num_threads());
      for (int row = mine.begin; row < mine.end; ++row) finish(row, orders);
      return;
    }
    const int num_blocks = rows_.num_blocks();
    const Range mine = part_of(num_rows * num_blocks, thread, pool.num_threads());
    for (int at = mine.begin; at < mine.end;) {
      const int first = at % num_blocks;
      const int last = std::min(num_blocks, first + mine.end - at);
      rows_.quantise(at / num_blocks, {first, last});
      at += last - first;
    }
  });
}

Activations StageRows::activations(int order, int first_row) const {
  if (order == StageOrders::kInOrder) return rows_.activations(first_row);
  return reordered_[static_cast<std::size_t>(order)].activations(first_row);
}

}  // namespace tessera
