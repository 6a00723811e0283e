// amx_emulator.hpp — the tile unit of AMX on a machine that has none, so that the kernels for it
// run as they were compiled.
//
// Such a machine raises SIGILL at a tile instruction. While an emulator lives, a handler decodes
// the instruction, does what Intel's manual says it does (SDM volume 2, under its name) to tiles of
// the thread, and goes on behind it. Whatever is not a tile instruction of palette 1, or one that
// the manual says is undefined for these tiles, still ends the process.
//
// One at a time. Threads may use it at once.
#pragma once

#include <csignal>
#include <cstdint>

namespace tessera {

class AmxEmulator {
 public:
  AmxEmulator();
  ~AmxEmulator();
  AmxEmulator(const AmxEmulator&) = delete;
  AmxEmulator& operator=(const AmxEmulator&) = delete;

  // Tile products of bytes since the emulator was made, by all threads.
  std::int64_t num_products() const;

 private:
  struct sigaction before_ = {};
};

}  // namespace tessera
