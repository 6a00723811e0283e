// adapter_store_test.cpp — adapters on their way to the device: which parts of them a step that
// asks for some finds there.
#include "kernels/cuda/adapter_store.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cuda/lora_modules.hpp"
#include "tests/kernels/cuda/device_arrays.hpp"
#include "tests/kernels/random_adapter.hpp"

namespace tessera {
namespace {

class AdapterStoreKernels : public testing::Test {
 protected:
  void SetUp() override {
    if (num_devices() == 0) GTEST_SKIP() << "no CUDA device on this machine";
  }
};

constexpr int kMaxSlots = 4;
constexpr std::size_t kFrame = std::size_t{64} << 10;
constexpr std::size_t kPoolBytes = std::size_t{8} << 20;

// A store whose memory is poisoned, so that what has not arrived is seen.
struct Device {
  explicit Device(const ModelSpec& spec)
      : pool(kFrame, kPoolBytes / kFrame), store(spec, pool, kMaxSlots) {
    steps.fill(pool.memory(), kPoison, kPoolBytes);
    steps.synchronize();
    for (BlockId frame = 0; frame < pool.num_frames(); ++frame) pool.give(frame);
  }

  template <class T>
  std::vector<T> fetch(const T* from, std::size_t count) {
    std::vector<T> values(count);
    steps.copy_to_host(values.data(), from, count * sizeof(T));
    steps.synchronize();
    return values;
  }
  // Whether the module's A is there, page by page and byte by byte.
  bool has(AdapterSlot slot, int module, const LoraModule& expected, int in_features) {
    const LoraTable table = store.table();
    const auto at = static_cast<std::size_t>(slot * table.num_modules + module);
    const LoraEntry entry = fetch(table.entries + at, 1)[0];
    const auto bytes =
        static_cast<std::size_t>(kRanksPerPage * in_features) * element_bytes(entry.type);
    const auto num_pages = static_cast<std::size_t>(pages_of_rank(expected.rank));
    const auto pages = fetch(entry.pages, num_pages);
    for (std::size_t i = 0; i < num_pages; ++i) {
      const auto there = fetch(pages[i].a, bytes);
      if (std::memcmp(there.data(), expected.a + i * bytes, bytes) != 0) return false;
    }
    return true;
  }

  GranulePool pool;
  CudaStream steps;
  AdapterStore store;
};

TEST_F(AdapterStoreKernels, AStepFindsThePartsThatItHasAskedForAndNoLaterOnes) {
  Random random(11);
  ModelSpec spec = RandomModel::random_llama_spec(random);
  spec.layers.resize(3, spec.layers.front());
  const RandomAdapter adapter(random, spec, 12);
  const LoraView& view = adapter.view(PageType::kBf16);
  Device device(spec);
  const AdapterSlot slots[] = {device.store.add(view)};
  const LoraModuleNumbers modules(spec);
  const auto has_layer = [&](int layer) {
    const int module = modules.of(layer, Linear::kGate);
    return device.has(
        slots[0], module,
        view.layers[static_cast<std::size_t>(layer)][static_cast<std::size_t>(Linear::kGate)],
        spec.shape(Linear::kGate).in_features);
  };
  EXPECT_FALSE(device.store.has_sent(slots));
  device.store.require(slots, 0, device.steps);
  for (int layer = 0; layer < 3; ++layer) EXPECT_FALSE(has_layer(layer)) << layer;
  for (int layer = 0; layer < 3; ++layer) {
    device.store.require(slots, AdapterStore::part_of_layer(layer), device.steps);
    for (int other = 0; other < 3; ++other) {
      EXPECT_EQ(has_layer(other), other <= layer) << other << " after " << layer;
    }
  }
  device.store.require(slots, device.store.last_part(), device.steps);
  EXPECT_TRUE(device.store.has_sent(slots));
}

// A module's A is larger than any run of memory that is free, and its pages are not.
TEST_F(AdapterStoreKernels, AnAdaptersPagesLieWhereverThereIsRoomForEach) {
  Random random(13);
  ModelSpec spec = RandomModel::random_llama_spec(random);
  spec.layers.resize(2, spec.layers.front());
  spec.intermediate = 2048;
  const RandomAdapter adapter(random, spec, 96);
  const LoraView& view = adapter.view(PageType::kBf16);
  Device device(spec);
  constexpr std::size_t kHole = std::size_t{256} << 10;
  std::vector<std::byte*> runs;
  while (std::byte* run = device.pool.allocate(kHole)) runs.push_back(run);
  for (std::size_t i = 0; i < runs.size(); i += 2) device.pool.release(runs[i]);

  const AdapterSlot slots[] = {device.store.add(view)};
  ASSERT_NE(slots[0], kNoAdapter);
  device.store.require(slots, device.store.last_part(), device.steps);
  for (int layer = 0; layer < spec.num_layers(); ++layer) {
    const auto& modules = view.layers[static_cast<std::size_t>(layer)];
    for (const Linear linear : {Linear::kQ, Linear::kDown}) {
      EXPECT_TRUE(device.has(slots[0], LoraModuleNumbers(spec).of(layer, linear),
                             modules[static_cast<std::size_t>(linear)],
                             spec.shape(linear).in_features));
    }
  }
}

TEST_F(AdapterStoreKernels, WhatNobodyAsksForComesInTheBackground) {
  Random random(12);
  const ModelSpec spec = RandomModel::random_llama_spec(random);
  const RandomAdapter first(random, spec, 8);
  const RandomAdapter second(random, spec, 8);
  Device device(spec);
  const AdapterSlot slots[] = {device.store.add(first.view(PageType::kBf16)),
                               device.store.add(second.view(PageType::kBf16))};
  device.store.advance();
  EXPECT_TRUE(device.store.has_sent(std::span(slots).first(1)));
  EXPECT_FALSE(device.store.has_sent(slots));
  device.store.advance();
  EXPECT_TRUE(device.store.has_sent(slots));
  device.store.require(slots, device.store.last_part(), device.steps);
  for (int i = 0; i < 2; ++i) {
    const LoraView& view = (i == 0 ? first : second).view(PageType::kBf16);
    const auto linear = static_cast<std::size_t>(Linear::kQ);
    EXPECT_TRUE(device.has(slots[i], LoraModuleNumbers(spec).of(0, Linear::kQ),
                           view.layers[0][linear], spec.shape(Linear::kQ).in_features));
  }
}

// Parts of an adapter one behind the other in one piece of memory, as PackedAdapter has them;
// nobody has pinned it but in name, which a device's driver does not mind.
class PinnedPages {
 public:
  PinnedPages(const LoraView& view, const ModelSpec& spec) : view_(view) {
    view_.is_pinned = true;
    memory_.reserve(std::size_t{64} << 20);
    for (LoraLayer& layer : view_.layers) {
      for (const Linear linear : kAllLinears) {
        LoraModule& module = layer[static_cast<std::size_t>(linear)];
        const auto ranks = static_cast<std::size_t>(pages_of_rank(module.rank) * kRanksPerPage) * 2;
        const LinearShape shape = spec.shape(linear);
        move(module.a, ranks * static_cast<std::size_t>(shape.in_features));
        move(module.b, ranks * static_cast<std::size_t>(shape.out_features));
      }
    }
  }

  const LoraView& view() const { return view_; }
  void overwrite(std::byte value) { std::fill(memory_.begin(), memory_.end(), value); }

 private:
  void move(const std::byte*& half, std::size_t bytes) {
    const std::size_t at = memory_.size();
    memory_.insert(memory_.end(), half, half + bytes);
    half = memory_.data() + at;
  }

  LoraView view_;
  std::vector<std::byte> memory_;
};

TEST_F(AdapterStoreKernels, PinnedPagesGoFromWhereTheyAre) {
  Random random(14);
  ModelSpec spec = RandomModel::random_llama_spec(random);
  spec.layers.resize(3, spec.layers.front());
  for (const int rank : {5, 64}) {
    const RandomAdapter adapter(random, spec, rank);
    const LoraView& view = adapter.view(PageType::kBf16);
    const PinnedPages pinned(view, spec);
    Device device(spec);
    const AdapterSlot slots[] = {device.store.add(pinned.view())};
    for (int layer = 0; layer < spec.num_layers(); ++layer) {
      device.store.require(slots, AdapterStore::part_of_layer(layer), device.steps);
      for (const Linear linear : kAllLinears) {
        const auto at = static_cast<std::size_t>(linear);
        EXPECT_TRUE(device.has(slots[0], LoraModuleNumbers(spec).of(layer, linear),
                               view.layers[static_cast<std::size_t>(layer)][at],
                               spec.shape(linear).in_features))
            << "rank " << rank << " layer " << layer;
      }
    }
    device.store.require(slots, device.store.last_part(), device.steps);
    EXPECT_TRUE(device.store.has_sent(slots));
  }
}

// Larger than what goes at a time, so that a piece of it goes in two copies.
TEST_F(AdapterStoreKernels, PagesThatAreRemovedWhileTheyGoAreReadNoMore) {
  Random random(15);
  ModelSpec spec = RandomModel::random_llama_spec(random);
  spec.layers.resize(2, spec.layers.front());
  spec.intermediate = 4096;
  const RandomAdapter adapter(random, spec, 96);
  PinnedPages pinned(adapter.view(PageType::kBf16), spec);
  Device device(spec);
  const AdapterSlot slots[] = {device.store.add(pinned.view())};
  ASSERT_NE(slots[0], kNoAdapter);
  device.store.advance();
  EXPECT_FALSE(device.store.has_sent(slots));
  device.store.remove(slots[0]);
  pinned.overwrite(std::byte{0xA5});
  std::vector<BlockId> blocks;  // waits for what is under way
  device.store.take_blocks(1, blocks, device.steps);
  const auto all = device.fetch(device.pool.memory(), kPoolBytes);
  const std::vector<std::byte> later(64, std::byte{0xA5});
  EXPECT_EQ(std::search(all.begin(), all.end(), later.begin(), later.end()), all.end());
}

}  // namespace
}  // namespace tessera
