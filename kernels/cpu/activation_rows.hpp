// activation_rows.hpp — the activations of a step: rows of floats, and what is multiplied of them.
//
// Linear modules multiply rows in fp32 or as integers (kernel_table.hpp), and a matrix whose
// columns are in an order of their own (WeightMatrix::order) multiplies rows that have been brought
// into it. A StageRows is a stage's rows in all the forms that the stage's matrices want; each form
// of a row is made once, by the thread that finishes the row.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/cpu/aligned_buffer.hpp"
#include "kernels/cpu/kernel_table.hpp"
#include "kernels/cpu/thread_pool.hpp"
#include "kernels/nf4.hpp"

namespace tessera {

// Rows of floats at a distance that is a multiple of a cache line but not of a page, so that the
// same column of many rows does not fall into one cache set.
class ActivationRows {
 public:
  ActivationRows(int rows, int width)
      : stride_(static_cast<std::size_t>((width + 31) / 32 * 32 + 32)),
        data_(static_cast<std::size_t>(rows) * stride_) {}

  float* row(int i) { return data_.data() + offset(i); }
  Rows view(int first_row = 0) { return {row(first_row), stride_}; }
  ConstRows const_view(int first_row = 0) const {
    return {data_.data() + offset(first_row), stride_};
  }

 private:
  std::size_t offset(int row) const { return static_cast<std::size_t>(row) * stride_; }

  std::size_t stride_;
  AlignedBuffer<float> data_;
};

// What the matrices that multiply some rows need of them, on a path that multiplies integers.
struct IntegerNeeds {
  bool integers = true;  // some are not bf16
  bool sums = false;     // some have offsets
};

// Rows that will be multiplied. On a path that multiplies integers, quantise() makes these of a row
// that has been computed.
class MultipliedRows : public ActivationRows {
 public:
  MultipliedRows(int rows, int width, const KernelTable& kernels, IntegerNeeds needs = {});

  bool has_integers() const { return has_integers_; }
  int num_blocks() const { return num_blocks_; }
  void quantise(int i, Range blocks);
  void quantise(int i) { quantise(i, {0, num_blocks_}); }
  // Of rows from `first_row` on, a multiple of kRowsTogether.
  Activations activations(int first_row = 0) const;

 private:
  const KernelTable* kernels_;
  bool has_integers_;
  int num_blocks_;
  std::size_t panel_;  // elements
  std::size_t units_panel_;
  std::size_t sums_panel_;
  std::size_t group_bytes_;
  AlignedBuffer<std::int16_t> integers_;
  AlignedBuffer<float> units_;
  AlignedBuffer<float> sums_;
  AlignedBuffer<std::byte> digits_;
};

// A row that is a multiple of this begins a panel of integers and a group of digits.
inline constexpr int kRowsTogether = 16;

// Which forms a stage's matrices want: x as it is, and x in the different orders among them.
class StageOrders {
 public:
  static constexpr int kInOrder = -1;

  // Returns the index of the matrix's order, which outlives this; empty: kInOrder.
  int add(const std::vector<std::int32_t>& order);

  bool wants_in_order() const { return wants_in_order_; }
  int size() const { return size_; }
  const std::vector<std::int32_t>& operator[](int i) const {
    return *orders_[static_cast<std::size_t>(i)];
  }

 private:
  std::array<const std::vector<std::int32_t>*, 3> orders_ = {};  // no stage has more matrices
  int size_ = 0;
  bool wants_in_order_ = false;
};

class StageRows {
 public:
  // With room for `max_orders` orders.
  StageRows(int rows, int width, const KernelTable& kernels, IntegerNeeds needs, int max_orders);

  ActivationRows& rows() { return rows_; }
  float* row(int i) { return rows_.row(i); }
  Rows view() { return rows_.view(); }
  ConstRows const_view(int first_row = 0) const { return rows_.const_view(first_row); }

  // When a whole row has been computed: makes the forms of it that are wanted.
  void finish(int i, const StageOrders& orders);
  // The same of some of its blocks, if x is wanted only as it is: finishes_blocks(). Otherwise, and
  // for rows whose blocks are not whole, finish_all() when all rows have been computed.
  static bool finishes_blocks(const StageOrders& orders) { return orders.size() == 0; }
  void finish(int i, Range blocks) { rows_.quantise(i, blocks); }
  void finish_all(int num_rows, const StageOrders& orders, ThreadPool& pool);

  // x in the order of that index (StageOrders::add), from `first_row` on.
  Activations activations(int order, int first_row = 0) const;

 private:
  void reorder(int i, int index, const StageOrders& orders);

  MultipliedRows rows_;
  std::vector<MultipliedRows> reordered_;
};

}  // namespace tessera
