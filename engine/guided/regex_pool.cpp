#include "engine/guided/regex_pool.hpp"

#include <algorithm>
#include <limits>

#include "engine/guided/regex_terms.hpp"
#include "engine/text/utf8.hpp"

namespace tessera::guided {

RegexPool::RegexPool(Fuel& fuel, const GuidedLimits& limits)
    : impl_(std::make_unique<Impl>(fuel, limits)) {}

RegexPool::~RegexPool() = default;

RegexId RegexPool::set(const CodePointSet& set) {
  return impl_->set(set);
}
RegexId RegexPool::any_code_point() {
  return Impl::kAnySet;
}
RegexId RegexPool::literal(std::string_view utf8) {
  return impl_->literal(utf8);
}

RegexId RegexPool::any_of_literals(std::span<const std::string_view> utf8_strings) {
  return impl_->any_of_literals(utf8_strings);
}

RegexId RegexPool::automaton(std::shared_ptr<const Automaton> automaton) {
  return impl_->add_automaton(std::move(automaton));
}

RegexId RegexPool::concat(std::span<const RegexId> parts) {
  RegexId term = kEmpty;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) term = impl_->concat(*part, term);
  return term;
}

RegexId RegexPool::either(std::span<const RegexId> parts) {
  return impl_->either(std::vector<RegexId>(parts.begin(), parts.end()));
}

RegexId RegexPool::both(std::span<const RegexId> parts) {
  return impl_->both(std::vector<RegexId>(parts.begin(), parts.end()));
}

RegexId RegexPool::complement(RegexId of) {
  return impl_->complement(of);
}

RegexId RegexPool::repeat(RegexId of, std::uint32_t min, std::uint32_t max) {
  return impl_->repeat(of, min, max);
}

RegexId RegexPool::length_between(std::uint64_t min, std::uint64_t max) {
  // No text has four thousand million characters: a bound beyond that is none, or cannot be met.
  constexpr std::uint64_t kLargest = kUnbounded - 1;
  if (min > max || min > kLargest) return kNothing;
  return impl_->repeat(Impl::kAnySet, static_cast<std::uint32_t>(min),
                       max > kLargest ? kUnbounded : static_cast<std::uint32_t>(max));
}

bool RegexPool::nullable(RegexId of) const {
  return (*impl_)[of].nullable;
}

RegexId RegexPool::derivative(RegexId of, char32_t code_point) {
  return impl_->derivative(of, code_point);
}

bool RegexPool::alive(RegexId of) {
  return impl_->alive(of);
}

bool RegexPool::matches(RegexId of, std::string_view utf8) {
  while (!utf8.empty() && of != kNothing) {
    const Utf8Step step = utf8_step(utf8);
    if (step.kind != Utf8Step::Kind::kValid) return false;
    of = impl_->derivative(of, step.code_point);
    utf8.remove_prefix(step.bytes);
  }
  return nullable(of);
}

std::optional<std::string> RegexPool::shortest(RegexId of) {
  return impl_->shortest(of);
}

std::optional<std::string> RegexPool::only_string(RegexId of) const {
  std::string text;
  while (of != kEmpty) {
    const RegexNode& node = (*impl_)[of];
    const bool chain = node.kind == RegexKind::kConcat;
    const RegexNode& head = chain ? (*impl_)[node.a] : node;
    if (head.kind != RegexKind::kSet) return std::nullopt;
    const auto ranges = impl_->set_of(head).ranges();
    if (ranges.size() != 1 || ranges[0].end != ranges[0].begin + 1) return std::nullopt;
    if (is_surrogate(ranges[0].begin)) return std::nullopt;
    append_utf8(text, ranges[0].begin);
    of = chain ? node.b : kEmpty;
  }
  return text;
}

std::uint64_t RegexPool::count(RegexId of, std::uint64_t at_most) {
  return at_most == 0 ? 0 : impl_->count(of, at_most);
}

void RegexPool::set_horizon(std::size_t code_points) {
  impl_->horizon = static_cast<std::uint32_t>(std::min<std::size_t>(code_points, kUnbounded - 2));
}

std::uint32_t RegexPool::horizon() const {
  return impl_->horizon;
}

std::size_t RegexPool::bytes() const {
  return impl_->bytes();
}

}  // namespace tessera::guided
