#include "tests/kernels/amx_emulator.hpp"

#include <atomic>
#include <cstddef>
#include <cstring>
#include <optional>

#include <ucontext.h>

namespace tessera {
namespace {

constexpr std::size_t kTiles = 8;
constexpr std::size_t kMaxRows = 16;
constexpr std::size_t kMaxRowBytes = 64;

std::atomic<std::int64_t> g_num_products;

struct Tile {
  std::size_t rows = 0;
  std::size_t row_bytes = 0;
  std::uint8_t bytes[kMaxRows][kMaxRowBytes] = {};

  void zero() { std::memset(bytes, 0, sizeof bytes); }
  std::int32_t sum(std::size_t row, std::size_t column) const {
    std::int32_t value;
    std::memcpy(&value, &bytes[row][4 * column], sizeof value);
    return value;
  }
  void set_sum(std::size_t row, std::size_t column, std::int32_t value) {
    std::memcpy(&bytes[row][4 * column], &value, sizeof value);
  }
  int signed_byte(std::size_t row, std::size_t at) const {
    return static_cast<std::int8_t>(bytes[row][at]);
  }
};

struct TileUnitState {
  bool is_configured = false;
  Tile tiles[kTiles];
};
thread_local TileUnitState t_unit;

// --- what the instructions do; false: the processor would refuse -----------------------------

struct TileConfig {
  std::uint8_t palette;
  std::uint8_t start_row;
  std::uint8_t reserved[14];
  std::uint16_t row_bytes[16];
  std::uint8_t rows[16];
};

bool is_legal(const TileConfig& config) {
  if (config.palette != 1 || config.start_row != 0) return false;
  for (const std::uint8_t byte : config.reserved) {
    if (byte != 0) return false;
  }
  for (std::size_t i = 0; i < 16; ++i) {
    if (i >= kTiles && (config.row_bytes[i] != 0 || config.rows[i] != 0)) return false;
    if (config.row_bytes[i] > kMaxRowBytes || config.rows[i] > kMaxRows) return false;
    if ((config.row_bytes[i] == 0) != (config.rows[i] == 0)) return false;
  }
  return true;
}

bool load_config(const void* from) {
  TileConfig config;
  static_assert(sizeof config == 64);
  std::memcpy(&config, from, sizeof config);
  if (!is_legal(config)) return false;
  t_unit.is_configured = true;
  for (std::size_t i = 0; i < kTiles; ++i) {
    t_unit.tiles[i].zero();
    t_unit.tiles[i].rows = config.rows[i];
    t_unit.tiles[i].row_bytes = config.row_bytes[i];
  }
  return true;
}

bool release() {
  t_unit = {};
  return true;
}

bool is_usable(std::size_t tile) {
  return t_unit.is_configured && tile < kTiles && t_unit.tiles[tile].rows > 0;
}

bool zero(std::size_t tile) {
  if (!is_usable(tile)) return false;
  t_unit.tiles[tile].zero();
  return true;
}

bool load(std::size_t index, const std::byte* from, std::ptrdiff_t stride) {
  if (!is_usable(index)) return false;
  Tile& tile = t_unit.tiles[index];
  tile.zero();
  for (std::size_t row = 0; row < tile.rows; ++row, from += stride) {
    std::memcpy(tile.bytes[row], from, tile.row_bytes);
  }
  return true;
}

bool store(std::size_t index, std::byte* to, std::ptrdiff_t stride) {
  if (!is_usable(index)) return false;
  const Tile& tile = t_unit.tiles[index];
  for (std::size_t row = 0; row < tile.rows; ++row, to += stride) {
    std::memcpy(to, tile.bytes[row], tile.row_bytes);
  }
  return true;
}

// sum(m, n) += x(m, 4k + i) * weights(k, 4n + i), modulo 2^32.
bool add_products(std::size_t sum_index, std::size_t x_index, std::size_t weights_index) {
  if (sum_index == x_index || sum_index == weights_index || x_index == weights_index) return false;
  if (!is_usable(sum_index) || !is_usable(x_index) || !is_usable(weights_index)) return false;
  Tile& sums = t_unit.tiles[sum_index];
  const Tile& x = t_unit.tiles[x_index];
  const Tile& weights = t_unit.tiles[weights_index];
  if (sums.row_bytes % 4 != 0 || x.row_bytes % 4 != 0) return false;
  if (sums.rows != x.rows || sums.row_bytes != weights.row_bytes) return false;
  if (x.row_bytes / 4 != weights.rows) return false;
  for (std::size_t m = 0; m < sums.rows; ++m) {
    for (std::size_t n = 0; n < sums.row_bytes / 4; ++n) {
      auto sum = static_cast<std::uint32_t>(sums.sum(m, n));
      for (std::size_t at = 0; at < x.row_bytes; ++at) {
        sum += static_cast<std::uint32_t>(x.signed_byte(m, at) *
                                          weights.signed_byte(at / 4, 4 * n + at % 4));
      }
      sums.set_sum(m, n, static_cast<std::int32_t>(sum));
    }
  }
  ++g_num_products;
  return true;
}

// --- how they are encoded (SDM volume 2, 2.3.5 and 2.1.3) ------------------------------------

// Numbers of registers as instructions have them, in the order of ucontext's.
constexpr int kRegisters[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15};

enum class Prefix : std::uint8_t { kNone, k66, kF3, kF2 };

struct Instruction {
  Prefix prefix;
  std::uint8_t opcode;
  std::size_t mode, reg, rm, vvvv;  // mode 3: rm is a register
  std::byte* address = nullptr;     // else: without the index, if `stride` is wanted
  std::ptrdiff_t stride = 0;        // the index, scaled
  bool has_sib = false;
  std::size_t length = 0;
};

class Decoder {
 public:
  explicit Decoder(const mcontext_t& context)
      : context_(context), code_(reinterpret_cast<const std::uint8_t*>(value(REG_RIP))) {}

  // A VEX instruction of map 0F 38, W and L clear.
  std::optional<Instruction> decode() {
    if (code_[0] != 0xC4 || (code_[1] & 0x1F) != 2 || (code_[2] & 0x84) != 0) return {};
    const std::uint8_t modrm = code_[4];
    Instruction instruction{};
    instruction.prefix = static_cast<Prefix>(code_[2] & 3);
    instruction.opcode = code_[3];
    instruction.mode = modrm >> 6;
    instruction.reg = (modrm >> 3 & 7U) | extension(7);
    instruction.rm = (modrm & 7U) | extension(5);
    instruction.vvvv = ~std::uint32_t{code_[2]} >> 3 & 15U;  // inverted
    at_ = 5;
    if (instruction.mode != 3) decode_address(modrm, instruction);
    instruction.length = at_;
    return instruction;
  }

 private:
  std::uint64_t value(int reg) const { return static_cast<std::uint64_t>(context_.gregs[reg]); }
  // Bit 3 of a register's number, kept inverted in the second byte.
  std::size_t extension(int bit) const { return (~std::uint32_t{code_[1]} >> bit & 1U) << 3; }

  template <class Int>
  std::uint64_t displacement() {
    Int number;
    std::memcpy(&number, code_ + at_, sizeof number);
    at_ += sizeof number;
    return static_cast<std::uint64_t>(std::int64_t{number});
  }

  void decode_address(std::uint8_t modrm, Instruction& instruction) {
    std::uint64_t address = 0;
    std::size_t base = modrm & 7U;
    bool has_base = true;
    if (base == 4) {
      const std::uint8_t sib = code_[at_++];
      const std::size_t index = (sib >> 3 & 7U) | extension(6);
      instruction.has_sib = true;
      if (index != 4) {
        instruction.stride = static_cast<std::ptrdiff_t>(value(kRegisters[index]) << (sib >> 6));
      }
      base = sib & 7U;
      has_base = instruction.mode != 0 || base != 5;
    }
    const bool is_relative = !instruction.has_sib && instruction.mode == 0 && base == 5;
    if (is_relative) {
      const std::uint64_t distance = displacement<std::int32_t>();
      address = reinterpret_cast<std::uint64_t>(code_) + at_ + distance;
    } else {
      if (instruction.mode == 1) address = displacement<std::int8_t>();
      if (instruction.mode == 2 || !has_base) address = displacement<std::int32_t>();
      if (has_base) address += value(kRegisters[base | extension(5)]);
    }
    instruction.address = reinterpret_cast<std::byte*>(address);
  }

  const mcontext_t& context_;
  const std::uint8_t* code_;
  std::size_t at_ = 0;
};

bool execute_4b(const Instruction& instruction) {
  if (instruction.mode == 3 || !instruction.has_sib || instruction.vvvv != 0) return false;
  switch (instruction.prefix) {
    case Prefix::kF2:  // TILELOADD
      return load(instruction.reg, instruction.address, instruction.stride);
    case Prefix::kF3:  // TILESTORED
      return store(instruction.reg, instruction.address, instruction.stride);
    default:
      return false;
  }
}

bool execute_49(const Instruction& instruction) {
  if (instruction.vvvv != 0) return false;
  const bool is_register = instruction.mode == 3;
  if (instruction.prefix == Prefix::kF2 && is_register && instruction.rm == 0) {
    return zero(instruction.reg);  // TILEZERO
  }
  if (instruction.prefix != Prefix::kNone || instruction.reg != 0) return false;
  if (is_register) return instruction.rm == 0 && release();      // TILERELEASE
  return load_config(instruction.address + instruction.stride);  // LDTILECFG
}

bool execute(const Instruction& instruction) {
  switch (instruction.opcode) {
    case 0x49:
      return execute_49(instruction);
    case 0x4B:
      return execute_4b(instruction);
    case 0x5E:  // TDPBSSD
      return instruction.prefix == Prefix::kF2 && instruction.mode == 3 &&
             add_products(instruction.reg, instruction.rm, instruction.vvvv);
    default:
      return false;
  }
}

void on_illegal_instruction(int, siginfo_t*, void* context) {
  mcontext_t& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
  const auto instruction = Decoder(machine).decode();
  if (instruction && execute(*instruction)) {
    machine.gregs[REG_RIP] += static_cast<greg_t>(instruction->length);
  } else {
    std::signal(SIGILL, SIG_DFL);  // and again
  }
}

}  // namespace

AmxEmulator::AmxEmulator() {
  g_num_products = 0;
  struct sigaction action = {};
  action.sa_sigaction = &on_illegal_instruction;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &action, &before_);
}

AmxEmulator::~AmxEmulator() {
  sigaction(SIGILL, &before_, nullptr);
}

std::int64_t AmxEmulator::num_products() const {
  return g_num_products;
}

}  // namespace tessera
