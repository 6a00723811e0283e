// regex_oracle.hpp — regular languages described twice: as RegexPool's terms and as plain trees
// whose meaning is spelled out by trying every way to cut a text.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "engine/guided/regex_pool.hpp"

namespace tessera::guided::regex_oracle {

inline std::uint32_t seed() {
  const char* given = std::getenv("TESSERA_SEED");
  const std::uint32_t value =
      given != nullptr ? static_cast<std::uint32_t>(std::strtoul(given, nullptr, 10)) : 20261121;
  std::cout << "seed " << value << '\n';
  return value;
}

// A sample by default, twenty times as much with TESSERA_LONG=1.
inline int rounds(int sample) {
  return std::getenv("TESSERA_LONG") != nullptr ? 20 * sample : sample;
}

inline std::size_t num_code_points(std::string_view utf8) {
  std::size_t count = 0;
  for (const char c : utf8) count += (static_cast<unsigned char>(c) & 0xC0U) != 0x80U ? 1 : 0;
  return count;
}

// A language over ASCII texts; what is not ASCII is never in a set here, but is in a complement.
struct Meaning {
  enum class Kind { kSet, kWords, kConcat, kEither, kBoth, kComplement, kRepeat, kLength };
  Kind kind = Kind::kSet;
  std::string set;
  std::vector<std::string> words;
  std::vector<std::shared_ptr<Meaning>> parts;
  std::uint32_t min = 0;
  std::uint32_t max = 0;

  RegexId build(RegexPool& pool) const {
    std::vector<RegexId> built;
    for (const auto& part : parts) built.push_back(part->build(pool));
    switch (kind) {
      case Kind::kSet: {
        CodePointSet points;
        for (const char c : set) points.add(CodePointSet(static_cast<unsigned char>(c)));
        return pool.set(points);
      }
      case Kind::kWords: {
        const std::vector<std::string_view> views(words.begin(), words.end());
        return pool.any_of_literals(views);
      }
      case Kind::kConcat:
        return pool.concat(built);
      case Kind::kEither:
        return pool.either(built);
      case Kind::kBoth:
        return pool.both(built);
      case Kind::kComplement:
        return pool.complement(built.front());
      case Kind::kRepeat:
        return pool.repeat(built.front(), min, max);
      case Kind::kLength:
        return pool.length_between(min, max);
    }
    return RegexPool::kNothing;
  }

  bool holds(const std::string& text) const {
    std::map<Cut, bool> known;
    return holds(text, 0, text.size(), known);
  }

  std::string print() const {
    std::string out;
    const auto list = [&](std::string_view between) {
      out += '(';
      for (const auto& part : parts) {
        if (out.back() != '(') out += between;
        out += part->print();
      }
      out += ')';
    };
    switch (kind) {
      case Kind::kSet:
        return '[' + set + ']';
      case Kind::kWords:
        for (const auto& word : words) out += '<' + word + '>';
        return out;
      case Kind::kConcat:
        list(" ");
        return out;
      case Kind::kEither:
        list(" | ");
        return out;
      case Kind::kBoth:
        list(" & ");
        return out;
      case Kind::kComplement:
        return '~' + parts.front()->print();
      case Kind::kRepeat:
        return parts.front()->print() + '{' + std::to_string(min) + ',' + std::to_string(max) + '}';
      case Kind::kLength:
        return ".{" + std::to_string(min) + ',' + std::to_string(max) + '}';
    }
    return out;
  }

 private:
  struct Cut {
    const Meaning* of;
    std::size_t begin, end, part;
    auto operator<=>(const Cut&) const = default;
  };
  using Known = std::map<Cut, bool>;

  bool holds(const std::string& text, std::size_t begin, std::size_t end, Known& known) const {
    const auto [at, added] = known.try_emplace({this, begin, end, 0}, false);
    if (!added) return at->second;
    const bool result = decide(text, begin, end, known);
    known[{this, begin, end, 0}] = result;
    return result;
  }

  bool decide(const std::string& text, std::size_t begin, std::size_t end, Known& known) const {
    switch (kind) {
      case Kind::kSet:
        return end == begin + 1 && set.find(text[begin]) != std::string::npos;
      case Kind::kWords:
        return std::find(words.begin(), words.end(), text.substr(begin, end - begin)) !=
               words.end();
      case Kind::kConcat:
        return concat_holds(text, begin, end, 0, known);
      case Kind::kEither:
        for (const auto& part : parts) {
          if (part->holds(text, begin, end, known)) return true;
        }
        return false;
      case Kind::kBoth:
        for (const auto& part : parts) {
          if (!part->holds(text, begin, end, known)) return false;
        }
        return true;
      case Kind::kComplement:
        return !parts.front()->holds(text, begin, end, known);
      case Kind::kRepeat:
        return repeat_holds(text, begin, end, 0, known);
      case Kind::kLength: {
        const std::size_t length =
            num_code_points(std::string_view(text).substr(begin, end - begin));
        return length >= min && length <= max;
      }
    }
    return false;
  }

  bool concat_holds(const std::string& text, std::size_t begin, std::size_t end, std::size_t part,
                    Known& known) const {
    if (part == parts.size()) return begin == end;
    const auto [at, added] = known.try_emplace({this, begin, end, part + 1}, false);
    if (!added) return at->second;
    bool result = false;
    for (std::size_t cut = begin; cut <= end && !result; ++cut) {
      result = parts[part]->holds(text, begin, cut, known) &&
               concat_holds(text, cut, end, part + 1, known);
    }
    known[{this, begin, end, part + 1}] = result;
    return result;
  }

  // Whether the rest is `done` to max more copies. An empty copy may stand for those that lack.
  bool repeat_holds(const std::string& text, std::size_t begin, std::size_t end, std::size_t done,
                    Known& known) const {
    if (begin == end) {
      return done >= min || parts.front()->holds(text, begin, begin, known);
    }
    if (done >= max) return false;
    const auto [at, added] = known.try_emplace({this, begin, end, done + 1}, false);
    if (!added) return at->second;
    bool result = false;
    for (std::size_t cut = begin + 1; cut <= end && !result; ++cut) {
      result = parts.front()->holds(text, begin, cut, known) &&
               repeat_holds(text, cut, end, done + 1, known);
    }
    known[{this, begin, end, done + 1}] = result;
    return result;
  }
};

inline std::shared_ptr<Meaning> random_meaning(std::mt19937& random, int depth) {
  const auto pick = [&](std::uint32_t below) {
    return static_cast<std::uint32_t>(random() % below);
  };
  auto meaning = std::make_shared<Meaning>();
  const std::uint32_t choice = depth == 0 ? pick(4) : pick(16);
  const auto add_parts = [&](std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) {
      meaning->parts.push_back(random_meaning(random, depth - 1));
    }
  };
  if (choice < 3) {
    meaning->kind = Meaning::Kind::kSet;
    for (const char c : {'a', 'b', 'c', 'd'}) {
      if (pick(2) == 0) meaning->set += c;
    }
    if (meaning->set.empty()) meaning->set = "a";
  } else if (choice == 3) {
    meaning->kind = Meaning::Kind::kWords;
    for (std::uint32_t i = pick(5) + 1; i > 0; --i) {
      std::string word;
      for (std::uint32_t j = pick(5); j > 0; --j) word += "abc"[pick(3)];
      meaning->words.push_back(word);
    }
  } else if (choice < 7) {
    meaning->kind = Meaning::Kind::kConcat;
    add_parts(2 + pick(2));
  } else if (choice < 10) {
    meaning->kind = Meaning::Kind::kEither;
    add_parts(2 + pick(3));
  } else if (choice == 10) {
    meaning->kind = Meaning::Kind::kBoth;
    add_parts(2);
  } else if (choice == 11) {
    meaning->kind = Meaning::Kind::kComplement;
    add_parts(1);
  } else if (choice == 12) {
    meaning->kind = Meaning::Kind::kLength;
    meaning->min = pick(4);
    meaning->max = meaning->min + pick(4);
    if (pick(3) == 0) meaning->max = RegexPool::kUnbounded;
  } else {
    meaning->kind = Meaning::Kind::kRepeat;
    add_parts(1);
    meaning->min = pick(4);
    meaning->max = meaning->min + pick(4);
    if (pick(3) == 0) meaning->max = RegexPool::kUnbounded;
  }
  return meaning;
}

}  // namespace tessera::guided::regex_oracle
