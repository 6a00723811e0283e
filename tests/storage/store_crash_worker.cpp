// store_crash_worker.cpp — writes to a store until it is killed, and says what was acknowledged.
//
// Batch i puts one value in each family, erases those of batch i - kKept and moves the counter
// `next` from i to i + 1, in one batch. When write() has returned, the worker prints i: a promise
// that batch i is there, whatever happens next.
#include <cstdio>
#include <cstdlib>

#include <unistd.h>

#include "tests/storage/store_crash.hpp"

int main(int argc, char** argv) {
  using namespace tessera;
  if (argc != 2) return 2;
  auto store = open_rocks_store(argv[1]);
  if (!store) {
    std::fprintf(stderr, "%s\n", store.error().message.c_str());
    return 3;
  }
  for (int i = crash::next_batch(**store);; ++i) {
    const auto durability = i % 2 == 0 ? Durability::kSynced : Durability::kBuffered;
    if (!(*store)->write(crash::batch(i), durability)) return 4;
    const std::string line = std::to_string(i) + "\n";
    if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) return 5;
  }
}
