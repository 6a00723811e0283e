// forms_bench.cpp — how fast each form of a weight matrix is multiplied, beside NF4.
//
//   forms_bench [path [threads]]     path: avx512vnni, avx512, avx2 or portable; default the best
//
// A matrix of random weights in 128 MiB of codes, more than caches hold. For 1 and 16 rows prints
// the time of a product, the bytes of tiles read a second, and the time a byte takes relative to
// NF4's.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <thread>
#include <vector>

#include "kernels/cpu/activation_rows.hpp"
#include "kernels/cpu/cpu_path.hpp"
#include "kernels/cpu/tiled_matrix.hpp"
#include "tests/kernels/random_model.hpp"

namespace tessera {
namespace {

constexpr int kIn = 4096;
constexpr std::size_t kCodeBytes = std::size_t{128} << 20;
constexpr int kRepeats = 15;

struct Form {
  const char* name;
  WeightForm form;
  int group = 64;
  bool has_offsets = false;
  bool is_integral = false;
  bool has_order = false;

  int rows() const {
    const int half_bytes = form == WeightForm::kBook16 ? 1 : form == WeightForm::kInt8 ? 2 : 4;
    return static_cast<int>(2 * kCodeBytes / kIn) / half_bytes;
  }
};
constexpr Form kForms[] = {
    {"NF4", WeightForm::kBook16},
    {"FP4 (a book of its own)", WeightForm::kBook16, 64, false, false},
    {"4 bits, group 32 (Q4_0)", WeightForm::kBook16, 32, false, true},
    {"4 bits, group 32, offsets (Q4_1)", WeightForm::kBook16, 32, true, true},
    {"4 bits, group 128, offsets (GPTQ)", WeightForm::kBook16, 128, true, true},
    {"the same with act-order", WeightForm::kBook16, 128, true, true, true},
    {"4 bits, group 16, offsets", WeightForm::kBook16, 16, true, true},
    {"8 bits, a scale a row", WeightForm::kInt8, kIn},
    {"8 bits, group 32 (Q8_0)", WeightForm::kInt8, 32},
    {"8 bits, group 32, offsets (Q5_K)", WeightForm::kInt8, 32, true},
    {"8 bits, group 16 (Q6_K)", WeightForm::kInt8, 16},
    {"bf16", WeightForm::kBf16},
};

// The arrays that a matrix of any form points into.
struct Source {
  explicit Source(Random& random) : bytes(kCodeBytes), scales(2 * kCodeBytes / 16), order(kIn) {
    for (std::size_t i = 0; i < bytes.size(); i += 2) {
      bytes[i] = static_cast<std::uint8_t>(random());
      bytes[i + 1] = static_cast<std::uint8_t>(0x3CU | (random() & 0x80U));  // bf16 near 0.01
    }
    for (float& scale : scales) scale = 0.01F;
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
  }

  WeightMatrix view(const Form& form, bool is_nf4) const {
    WeightMatrix matrix;
    matrix.rows = form.rows();
    matrix.cols = kIn;
    matrix.form = form.form;
    matrix.bf16 = reinterpret_cast<const Bf16*>(bytes.data());
    matrix.codes = bytes.data();
    matrix.group = form.group;
    matrix.scales = scales.data();
    if (form.has_offsets) matrix.offsets = scales.data();
    if (form.has_order) matrix.order = order.data();
    for (std::size_t i = 0; i < 16; ++i) {
      const float integer = static_cast<float>(i);
      matrix.book[i] = is_nf4 ? kNf4Values[i] : form.is_integral ? integer : integer / 17.3F;
    }
    return matrix;
  }

  std::vector<std::uint8_t> bytes;
  std::vector<float> scales;
  std::vector<std::int32_t> order;
};

class Product {
 public:
  Product(const WeightMatrix& matrix, const KernelTable& kernels, int num_rows, ThreadPool& pool)
      : weights_(matrix, kernels, pool),
        order_(orders_.add(weights_.order())),
        num_rows_(num_rows),
        pool_(pool),
        x_(num_rows, kIn, kernels,
           {.integers = !weights_.is_bf16(), .sums = weights_.has_offsets()}, orders_.size()),
        y_(num_rows, matrix.rows) {
    Random random(1);
    for (int i = 0; i < num_rows; ++i) {
      std::ranges::copy(normal_values(random, kIn, 1.0F), x_.row(i));
    }
  }

  // Makes the forms of x that are wanted, and multiplies.
  void run() {
    pool_.run([&](int thread) {
      const Range rows = part_of(num_rows_, thread, pool_.num_threads());
      for (int row = rows.begin; row < rows.end; ++row) x_.finish(row, orders_);
    });
    pool_.run([&](int thread) {
      const Range tiles = part_of(weights_.tiles(), thread, pool_.num_threads());
      weights_.multiply()(weights_.view(), tiles.begin, tiles.end, x_.activations(order_),
                          num_rows_, y_.view());
    });
  }

  // The fastest of some: what else the machine does is not what is asked.
  double seconds() {
    using Clock = std::chrono::steady_clock;
    double best = 1e9;
    for (int i = 0; i < kRepeats; ++i) {
      const auto start = Clock::now();
      run();
      best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
    }
    return best;
  }

  double bytes() const { return static_cast<double>(weights_.bytes()); }

 private:
  TiledMatrix weights_;
  StageOrders orders_;
  int order_;
  int num_rows_;
  ThreadPool& pool_;
  StageRows x_;
  ActivationRows y_;
};

void run(const char* path, int num_threads) {
  const KernelTable& kernels = kernels_of(choose_cpu_path(path));
  ThreadPool pool(num_threads);
  Random random(20261121);
  const Source source(random);
  for (const int num_rows : {1, 16}) {
    std::printf("%s, %d threads, %d rows\n", kernels.name, num_threads, num_rows);
    double of_nf4 = 0.0;
    for (const Form& form : kForms) {
      Product product(source.view(form, &form == kForms), kernels, num_rows, pool);
      const double seconds = product.seconds();
      const double a_byte = seconds / product.bytes();
      if (&form == kForms) of_nf4 = a_byte;
      std::printf("  %-34s %7.2f ms %6.1f GB/s  a byte takes %.2f of NF4's\n", form.name,
                  seconds * 1e3, 1e-9 / a_byte, a_byte / of_nf4);
    }
  }
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  const int num_cores = static_cast<int>(std::thread::hardware_concurrency());
  tessera::run(argc > 1 ? argv[1] : "", argc > 2 ? std::atoi(argv[2]) : num_cores);
}
