// safetensors_header.hpp — the JSON header of a safetensors file, before it is held against the
// data.
//
// Read as a stream of events rather than into a tree: the header of a large model is megabytes, and
// only three fields of each entry are wanted.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "adapters/safetensors.hpp"

namespace tessera {

struct SafetensorsHeader {
  struct Entry {
    std::string name;
    Dtype dtype = Dtype::kF32;
    std::vector<std::int64_t> shape;
    std::uint64_t begin = 0;  // offsets into the data, begin <= end
    std::uint64_t end = 0;
  };

  std::vector<Entry> entries;  // in byte order of their names, which are unique
  std::vector<std::pair<std::string, std::string>> metadata;
};

Checked<SafetensorsHeader> parse_safetensors_header(std::string_view json,
                                                    const SafetensorsLimits& limits);

}  // namespace tessera
