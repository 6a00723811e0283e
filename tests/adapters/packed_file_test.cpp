#include "adapters/packed_file.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include <fcntl.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "adapters/adapter_loader.hpp"
#include "adapters/packed_store.hpp"
#include "tests/adapters/test_package.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

AdapterDigest digest_of(int number) {
  AdapterDigest digest;
  digest.bytes.fill(static_cast<std::uint8_t>(number));
  return digest;
}

// Pairs, an output scale, a bias, rows and an invocation: every part that there is.
Adapter adapter_of_all_parts() {
  Adapter adapter = *TestPackage().validate().adapter;
  adapter.modules[1].out_scale.assign(
      static_cast<std::size_t>(adapter.modules[1].base.shape.out_features), 1.5F);
  adapter.modules[2].bias.assign(
      static_cast<std::size_t>(adapter.modules[2].base.shape.out_features), 0.25F);
  adapter.embed_rows.ids = {3, 90};
  adapter.embed_rows.rows.assign(2 * 64, 0.5F);
  adapter.head_rows.ids = {95};
  adapter.head_rows.rows.assign(64, -1.0F);
  adapter.invocation = {5, 6, 7};
  return adapter;
}

// A file without a name.
class PackedFile : public testing::Test {
 protected:
  ~PackedFile() override { ::close(descriptor_); }

  void clear() {
    ASSERT_EQ(::ftruncate(descriptor_, 0), 0);
    ASSERT_EQ(::lseek(descriptor_, 0, SEEK_SET), 0);
  }
  std::string content() {
    std::string bytes(size(), '\0');
    EXPECT_EQ(::pread(descriptor_, bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
    return bytes;
  }
  void write(const PackedAdapter& adapter) {
    clear();
    ASSERT_TRUE(write_packed_file(descriptor_, adapter, {digest_of(1), test_base().digest}));
  }
  Result<std::shared_ptr<const PackedAdapter>> read(int digest = 1) {
    return read_packed_file(descriptor_, digest_of(digest), format_);
  }
  std::size_t size() { return static_cast<std::size_t>(::lseek(descriptor_, 0, SEEK_END)); }
  unsigned char byte_at(std::size_t offset) {
    unsigned char byte = 0;
    EXPECT_EQ(::pread(descriptor_, &byte, 1, static_cast<off_t>(offset)), 1);
    return byte;
  }
  void set_byte(std::size_t offset, unsigned char byte) {
    EXPECT_EQ(::pwrite(descriptor_, &byte, 1, static_cast<off_t>(offset)), 1);
  }

  int descriptor_ =
      ::open(std::filesystem::temp_directory_path().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  const PackedFormat format_{test_base(), PageType::kBf16};
};

// Packed part by part, the file is the one of the whole; also of pairs that are read meanwhile.
TEST_F(PackedFile, IsTheSameWhenPackedPartByPart) {
  const TestPackage package;
  const std::string config = package.config_text();
  const std::vector<std::byte> tensors = package.tensor_bytes();
  const auto stored =
      validate_adapter(config, tensors, test_base(), {}, PairReading::kWhenNeeded).adapter;
  ASSERT_TRUE(stored);
  EXPECT_TRUE(stored->modules.at(0).stored);
  EXPECT_EQ(adapter_digest(*stored, {}), adapter_digest(*package.validate().adapter, {}));
  for (const PageType type : {PageType::kF32, PageType::kBf16, PageType::kInt8}) {
    for (const auto& [whole, by_parts] :
         {std::pair(*package.validate().adapter, *stored),
          std::pair(adapter_of_all_parts(), adapter_of_all_parts())}) {
      PageError error;
      write(*pack_adapter(whole, type, &error));
      const std::string expected = content();
      PagePacker packer(by_parts, type);
      clear();
      ASSERT_TRUE(write_packed_file(descriptor_, packer, {digest_of(1), test_base().digest}));
      EXPECT_EQ(content(), expected);
      EXPECT_EQ(packer.error().relative(), error.relative());
    }
  }
}

TEST_F(PackedFile, GivesBackEveryPart) {
  const auto packed = pack_adapter(adapter_of_all_parts(), PageType::kBf16);
  write(*packed);
  EXPECT_EQ(size(), packed_file_bytes(*packed));
  const auto read_back = read();
  ASSERT_TRUE(read_back) << read_back.error().message;
  const PackedAdapter& adapter = **read_back;
  ASSERT_EQ(adapter.bytes(), packed->bytes());
  EXPECT_EQ(std::memcmp(adapter.data().data(), packed->data().data(), packed->bytes()), 0);
  EXPECT_EQ(adapter.max_rank(), packed->max_rank());
  EXPECT_TRUE(std::ranges::equal(adapter.invocation(), std::vector<TokenId>{5, 6, 7}));
  EXPECT_FALSE(adapter.is_plain());
  EXPECT_EQ(adapter.view().embed_rows.ids[1], 90);
  EXPECT_EQ(adapter.view().head_rows.ids.size(), 1U);
  const auto& layers = adapter.view().layers;
  const auto& expected = packed->view().layers;
  for (std::size_t layer = 0; layer < layers.size(); ++layer) {
    for (std::size_t linear = 0; linear < kNumLinears; ++linear) {
      EXPECT_EQ(layers[layer][linear].rank, expected[layer][linear].rank);
      EXPECT_EQ(layers[layer][linear].out_scale != nullptr,
                expected[layer][linear].out_scale != nullptr);
      EXPECT_EQ(layers[layer][linear].bias != nullptr, expected[layer][linear].bias != nullptr);
    }
  }
}

TEST_F(PackedFile, GivesBackPagesOfEightBitsWithTheirScales) {
  const auto packed = pack_adapter(adapter_of_all_parts(), PageType::kInt8);
  write(*packed);
  const auto read_back =
      read_packed_file(descriptor_, digest_of(1), PackedFormat(test_base(), PageType::kInt8));
  ASSERT_TRUE(read_back) << read_back.error().message;
  ASSERT_EQ((*read_back)->bytes(), packed->bytes());
  EXPECT_EQ(std::memcmp((*read_back)->data().data(), packed->data().data(), packed->bytes()), 0);
  const LoraModule& module = (*read_back)->view().layers[0].linears[0];
  const LoraModule& expected = packed->view().layers[0].linears[0];
  ASSERT_NE(module.scales, nullptr);
  EXPECT_EQ(module.scales[0], expected.scales[0]);
  EXPECT_FALSE(read()) << "a file of another page type";
}

TEST_F(PackedFile, ADamagedByteAnywhereIsNoticed) {
  write(*pack_adapter(adapter_of_all_parts(), PageType::kBf16));
  const std::size_t bytes = size();
  for (std::size_t offset = 0; offset < bytes; ++offset) {
    if (offset >= 236 && offset < 4096) continue;  // zeros between the table and the data
    if (offset > 4200 && offset % 61 != 0) continue;
    const unsigned char before = byte_at(offset);
    set_byte(offset, before ^ 0x10);
    const auto damaged = read();
    ASSERT_FALSE(damaged) << "byte " << offset;
    EXPECT_EQ(damaged.error().code, Code::kCorrupt);
    set_byte(offset, before);
  }
  EXPECT_TRUE(read());
}

TEST_F(PackedFile, ACutOrLengthenedFileIsRefused) {
  write(*pack_adapter(adapter_of_all_parts(), PageType::kBf16));
  const std::size_t bytes = size();
  for (const std::size_t length : {std::size_t{0}, std::size_t{50}, std::size_t{200},
                                   std::size_t{4096}, bytes - 1, bytes + 1}) {
    write(*pack_adapter(adapter_of_all_parts(), PageType::kBf16));
    ASSERT_EQ(::ftruncate(descriptor_, static_cast<off_t>(length)), 0);
    const auto cut = read();
    ASSERT_FALSE(cut) << length;
    EXPECT_EQ(cut.error().code, Code::kCorrupt);
  }
}

TEST_F(PackedFile, AnotherAdaptersBasesOrTypesFileIsRefused) {
  write(*pack_adapter(adapter_of_all_parts(), PageType::kBf16));
  EXPECT_EQ(read(2).error().code, Code::kCorrupt);
  BaseModel other = test_base();
  other.digest.bytes[5] ^= 1;
  EXPECT_FALSE(read_packed_file(descriptor_, digest_of(1), PackedFormat(other, PageType::kBf16)));
  EXPECT_FALSE(
      read_packed_file(descriptor_, digest_of(1), PackedFormat(test_base(), PageType::kF32)));
}

// What a validator that was taken over might write: its checksums are right.
TEST_F(PackedFile, PartsThatAreNotTheBasesAreRefusedWhoeverWroteThem) {
  const auto refused = [&](const std::function<void(Adapter&)>& change) {
    Adapter adapter = adapter_of_all_parts();
    change(adapter);
    write(*pack_adapter(adapter, PageType::kBf16));
    return !read();
  };
  EXPECT_FALSE(refused([](Adapter&) {}));
  EXPECT_TRUE(refused([](Adapter& adapter) { std::swap(adapter.modules[0], adapter.modules[3]); }));
  EXPECT_TRUE(refused([](Adapter& adapter) { adapter.modules[1] = adapter.modules[0]; }));
  EXPECT_TRUE(refused([](Adapter& adapter) {
    adapter.modules[0].base.linear = Linear::kGate;
    adapter.modules[0].base.expert = 2;  // as a base with experts would have it
    adapter.num_experts = 4;
  }));
  EXPECT_TRUE(refused([](Adapter& adapter) { adapter.embed_rows.ids = {3, 96}; }));
  EXPECT_TRUE(refused([](Adapter& adapter) { adapter.embed_rows.ids = {-1, 3}; }));
  EXPECT_TRUE(refused([](Adapter& adapter) { adapter.embed_rows.ids = {9, 9}; }));
  EXPECT_TRUE(refused([](Adapter& adapter) {
    adapter.embed_rows.rows.resize(2 * 32);
    adapter.head_rows = {};
  }));
  EXPECT_TRUE(
      refused([](Adapter& adapter) { adapter.invocation.resize(kMaxInvocationTokens + 1); }));
}

TEST(PackedChecksum, NoticesWhereABitIsNotOnlyThatItIs) {
  std::vector<std::byte> bytes(640);
  const auto checksum = [&] {
    PackedChecksum sum;
    sum.update(bytes);
    return sum.finish();
  };
  const std::uint64_t intact = checksum();
  std::set<std::uint64_t> seen{intact};
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_TRUE(seen.insert(checksum()).second) << bit;
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
  }
  for (const std::size_t at : {63U, 127U}) bytes[at] ^= std::byte{0x80};  // the top bits of a lane
  EXPECT_NE(checksum(), intact);
}

class Store : public testing::Test {
 protected:
  void open(std::uint64_t max_bytes = 1U << 30, std::shared_ptr<PinnedArena> arena = nullptr) {
    store_.reset();
    auto opened = PackedStore::open(
        {.folder = folder_.path() / "packed", .max_bytes = max_bytes, .arena = std::move(arena)},
        test_base(), PageType::kBf16);
    ASSERT_TRUE(opened) << opened.error().message;
    store_ = *std::move(opened);
  }
  std::filesystem::path file_of(int number) {
    return folder_.path() / "packed" / (to_hex(digest_of(number)) + ".bf16");
  }
  std::size_t num_files() {
    const std::filesystem::directory_iterator entries(folder_.path() / "packed");
    return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
  }

  TempDir folder_;
  std::unique_ptr<PackedStore> store_;
  const std::shared_ptr<const PackedAdapter> packed_ =
      pack_adapter(*TestPackage().validate().adapter, PageType::kBf16);
};

TEST_F(Store, KeepsPagesOverARestart) {
  open();
  EXPECT_EQ(store_->read(digest_of(1)).error().code, Code::kNotFound);
  ASSERT_TRUE(store_->write(digest_of(1), *packed_));
  EXPECT_TRUE(store_->read(digest_of(1)));
  open();
  EXPECT_TRUE(store_->read(digest_of(1)));
  EXPECT_EQ(store_->stats().files, 1U);
  EXPECT_EQ(store_->stats().bytes, packed_file_bytes(*packed_));
  store_->remove(digest_of(1));
  EXPECT_EQ(store_->read(digest_of(1)).error().code, Code::kNotFound);
  EXPECT_EQ(num_files(), 0U);
}

TEST_F(Store, ReadsIntoTheMemoryOfThoseThatHaveGone) {
  open();
  ASSERT_TRUE(store_->write(digest_of(1), *packed_));
  auto first = store_->read(digest_of(1));
  ASSERT_TRUE(first);
  const std::byte* memory = (*first)->data().data();
  const auto second = store_->read(digest_of(1));  // while the first is in use
  EXPECT_NE((*second)->data().data(), memory);
  *first = nullptr;
  const auto third = store_->read(digest_of(1));
  EXPECT_EQ((*third)->data().data(), memory);
  EXPECT_TRUE(std::ranges::equal((*third)->data(), packed_->data()));
}

TEST_F(Store, ReadsIntoAnArenaWhileThatHasRoom) {
  const std::size_t bytes = PinnedArena::footprint(packed_->bytes());
  const auto memory = std::make_shared<std::vector<std::byte>>(bytes);
  const auto arena =
      std::make_shared<PinnedArena>(std::shared_ptr<std::byte>(memory, memory->data()), bytes);
  open(1U << 30, arena);
  ASSERT_TRUE(store_->write(digest_of(1), *packed_));
  auto first = store_->read(digest_of(1));
  ASSERT_TRUE(first);
  EXPECT_TRUE((*first)->view().is_pinned);
  EXPECT_EQ((*first)->data().data(), memory->data());
  EXPECT_EQ((*first)->footprint(), bytes);
  const auto second = store_->read(digest_of(1));  // while the first is in use
  EXPECT_FALSE((*second)->view().is_pinned);
  EXPECT_TRUE(std::ranges::equal((*first)->data(), (*second)->data()));
  store_.reset();  // which adapters outlive
  EXPECT_EQ(arena->free_bytes(), 0U);
  *first = nullptr;
  EXPECT_EQ(arena->free_bytes(), bytes);
}

TEST_F(Store, ADamagedFileIsToldOnceAndThenMissing) {
  open();
  ASSERT_TRUE(store_->write(digest_of(1), *packed_));
  std::fstream(file_of(1), std::ios::in | std::ios::out).seekp(5000).put('x');
  EXPECT_EQ(store_->read(digest_of(1)).error().code, Code::kCorrupt);
  EXPECT_EQ(store_->read(digest_of(1)).error().code, Code::kNotFound);
  EXPECT_EQ(store_->stats().rebuilds, 1U);
}

TEST_F(Store, TheOneUnusedForLongestMakesRoom) {
  open(2 * packed_file_bytes(*packed_));
  ASSERT_TRUE(store_->write(digest_of(1), *packed_));
  ASSERT_TRUE(store_->write(digest_of(2), *packed_));
  EXPECT_TRUE(store_->read(digest_of(1)));
  ASSERT_TRUE(store_->write(digest_of(3), *packed_));
  EXPECT_EQ(num_files(), 2U);
  EXPECT_TRUE(store_->read(digest_of(1)));
  EXPECT_FALSE(store_->read(digest_of(2)));
  EXPECT_EQ(store_->stats().evictions, 1U);
}

TEST_F(Store, WhatIsLargerThanTheFolderMayBeIsNotKept) {
  open(1000);
  EXPECT_TRUE(store_->write(digest_of(1), *packed_));
  EXPECT_EQ(num_files(), 0U);
}

TEST_F(Store, ADraftIsGoneUnlessItIsPublished) {
  open();
  { auto dropped = store_->draft(); }
  auto draft = store_->draft();
  ASSERT_TRUE(draft);
  const PackedIdentity identity{digest_of(1), test_base().digest};
  ASSERT_TRUE(write_packed_file(draft->descriptor(), *packed_, identity));
  EXPECT_FALSE(store_->read(digest_of(1)));
  const auto published = store_->publish(*std::move(draft), digest_of(1));
  ASSERT_TRUE(published) << published.error().message;
  EXPECT_TRUE(store_->read(digest_of(1)));
  EXPECT_EQ(num_files(), 1U);

  auto empty = store_->draft();
  EXPECT_EQ(store_->publish(*std::move(empty), digest_of(2)).error().code, Code::kCorrupt);
  EXPECT_EQ(num_files(), 1U);
}

TEST_F(Store, PagesAreNeverReplacedByOthers) {
  open();
  ASSERT_TRUE(store_->write(digest_of(1), *packed_));
  const auto publish = [&](const PackedAdapter& adapter) {
    auto draft = store_->draft();
    const PackedIdentity identity{digest_of(1), test_base().digest};
    EXPECT_TRUE(write_packed_file(draft->descriptor(), adapter, identity));
    return store_->publish(*std::move(draft), digest_of(1));
  };
  EXPECT_TRUE(publish(*packed_));
  Adapter other = *TestPackage().validate().adapter;
  other.modules[0].a[0] += 1.0F;
  const auto refused = publish(*pack_adapter(other, PageType::kBf16));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kConflict);
  const auto kept = store_->read(digest_of(1));
  ASSERT_TRUE(kept);
  EXPECT_EQ(std::memcmp((*kept)->data().data(), packed_->data().data(), packed_->bytes()), 0);
}

TEST_F(Store, DraftsOfACrashGoWhenTheFolderIsOpened) {
  std::filesystem::create_directories(folder_.path() / "packed");
  std::ofstream(folder_.path() / "packed" / "7.new") << "half";
  open();
  EXPECT_EQ(num_files(), 0U);
}

}  // namespace
}  // namespace tessera
