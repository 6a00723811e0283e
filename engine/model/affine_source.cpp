#include "engine/model/affine_source.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "kernels/quantisers.hpp"

namespace tessera {
namespace {

constexpr int kChunkRows = 256;  // unpacked at a time

// Two a byte, the earlier in the high half.
void append_pairs(std::span<const std::uint8_t> codes, std::vector<std::uint8_t>& out) {
  for (std::size_t k = 0; k < codes.size(); k += 2) {
    out.push_back(static_cast<std::uint8_t>(codes[k] << 4U | codes[k + 1]));
  }
}

}  // namespace

AffineSource::AffineSource(Layout layout, std::vector<std::span<const std::byte>> stored)
    : TensorSource({layout.rows, layout.cols}, std::move(stored)), layout_(std::move(layout)) {}

std::string AffineSource::form() const {
  return layout_.name + ' ' + std::to_string(layout_.bits) + "-bit" +
         (order_.empty() ? "" : " in act-order");
}

int AffineSource::group_at(int column) const {
  if (!layout_.group_of.empty()) return layout_.group_of[static_cast<std::size_t>(column)];
  return column / (layout_.cols / layout_.groups);
}

Result<void> AffineSource::prepare() {
  for (const std::int32_t group : layout_.group_of) {
    if (group < 0 || group >= layout_.groups) {
      return Error{Code::kCorrupt, "its g_idx names a group that it does not have"};
    }
  }
  const int group = layout_.cols % layout_.groups == 0 ? layout_.cols / layout_.groups : 0;
  if (layout_.group_of.empty() && group == 0) {
    return Error{Code::kCorrupt, "its groups do not divide its columns"};
  }
  if (is_group(group, layout_.cols)) group_ = group;
  take_order();
  for (int row = 0; row < layout_.rows && symmetric_; ++row) {
    for (int g = 0; g < layout_.groups; ++g) symmetric_ &= zero(row, g) == middle();
  }
  return {};
}

// Sorts the columns by their groups; a group with more or fewer columns than the others makes the
// matrix one that can only be read.
void AffineSource::take_order() {
  const auto& group_of = layout_.group_of;
  if (group_of.empty() || std::ranges::is_sorted(group_of)) {
    order_.clear();
  } else {
    order_.resize(group_of.size());
    std::iota(order_.begin(), order_.end(), 0);
    std::ranges::stable_sort(order_, {},
                             [&](std::int32_t k) { return group_of[static_cast<std::size_t>(k)]; });
  }
  std::vector<int> members(static_cast<std::size_t>(layout_.groups));
  for (int k = 0; k < layout_.cols; ++k) ++members[static_cast<std::size_t>(group_at(k))];
  for (const int count : members) {
    if (count != group_) group_ = 0;
  }
}

Result<void> AffineSource::read(std::int64_t row, std::span<float> values) const {
  const auto cols = static_cast<std::size_t>(layout_.cols);
  const int rows = static_cast<int>(values.size() / cols);
  std::vector<std::uint8_t> codes(values.size());
  unpack(static_cast<int>(row), rows, codes);
  for (int i = 0; i < rows; ++i) {
    const int n = static_cast<int>(row) + i;
    for (int k = 0; k < layout_.cols; ++k) {
      const std::size_t at = static_cast<std::size_t>(i) * cols + static_cast<std::size_t>(k);
      const int group = group_at(k);
      values[at] = static_cast<float>(codes[at] - zero(n, group)) * scale(n, group);
    }
  }
  return {};
}

std::optional<WeightBuffers> AffineSource::take(std::int64_t row, int rows) const {
  if (group_ == 0) return std::nullopt;
  WeightBuffers out;
  out.rows = rows;
  out.cols = layout_.cols;
  out.form = layout_.bits == 8 ? WeightForm::kInt8 : WeightForm::kBook16;
  if (layout_.bits == 4) out.book = symmetric_ ? kSignedInt4Values : kInt4Values;
  out.group = group_;
  out.order = order_;
  const auto cols = static_cast<std::size_t>(layout_.cols);
  const auto count = static_cast<std::size_t>(rows) * cols;
  out.codes.reserve(layout_.bits == 8 ? count : count / 2);
  out.scales.reserve(count / static_cast<std::size_t>(group_));
  std::vector<std::uint8_t> codes;
  for (int done = 0; done < rows; done += kChunkRows) {
    const int chunk = std::min(kChunkRows, rows - done);
    const int first = static_cast<int>(row) + done;
    codes.assign(static_cast<std::size_t>(chunk) * cols, 0);
    unpack(first, chunk, codes);
    for (int i = 0; i < chunk; ++i) {
      append_row(first + i, std::span(codes).subspan(static_cast<std::size_t>(i) * cols, cols),
                 out);
    }
  }
  return out;
}

void AffineSource::append_row(int row, std::span<const std::uint8_t> codes,
                              WeightBuffers& out) const {
  std::vector<std::uint8_t> sorted(codes.begin(), codes.end());
  for (std::size_t k = 0; k < order_.size(); ++k) {
    sorted[k] = codes[static_cast<std::size_t>(order_[k])];
  }
  if (layout_.bits == 8) {
    // 0 … 255 as -128 … 127: the top bit turned over.
    for (std::uint8_t& code : sorted) code ^= 0x80U;
    out.codes.insert(out.codes.end(), sorted.begin(), sorted.end());
  } else {
    append_pairs(sorted, out.codes);
  }
  const int base = layout_.bits == 8 ? middle() : 0;  // what a signed code has been lowered by
  for (int group = 0; group < layout_.groups; ++group) {
    const float factor = scale(row, group);
    out.scales.push_back(factor);
    if (!symmetric_) {
      out.offsets.push_back(static_cast<float>(base - zero(row, group)) * factor);
    }
  }
}

}  // namespace tessera
