// driver.cpp — Tessera's CPU backend and the machine itself, measured at cpu.py's request.
//
//   cpu_driver SHAPES SHAPE THREADS       SHAPES: the path of shapes.json; SHAPE: one of its names
//
// One JSON object a line. First our own: {"name": the backend}. Then, for each request,
//
//   {"seqs", "tokens", "adapters", "ranks", "steps"}   {"seconds": [...], "bytes", "flops"}
//   {"measure": "bandwidth"}                           {"bandwidth"}, bytes read a second
//   {"measure": "rates"}                               {"rates": [{"rate", "unit"}, ...]}, flops a
//                                                      second, the one that bars are held against
//                                                      first
#include <cmath>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/bench/cpu/roofline.hpp"
#include "tests/bench/cpu/step_bench.hpp"

namespace tessera {
namespace {

using Json = nlohmann::json;

ModelSpec spec_of(const Json& shape) {
  ModelSpec spec;
  spec.vocab_size = shape.at("vocab_size");
  spec.hidden = shape.at("hidden_size");
  spec.intermediate = shape.at("intermediate_size");
  spec.num_heads = shape.at("num_attention_heads");
  spec.num_kv_heads = shape.at("num_key_value_heads");
  spec.head_dim = shape.at("head_dim");
  spec.max_positions = shape.at("max_position_embeddings");
  spec.tied_embeddings = true;
  LayerSpec layer;
  layer.rms_eps = spec.final_rms_eps = shape.at("rms_norm_eps");
  spec.ropes = {{.inv_freq = plain_inv_freq(shape.at("rope_theta"), spec.head_dim)}};
  layer.attention_scale = 1.0F / std::sqrt(static_cast<float>(spec.head_dim));
  for (const Linear linear : {Linear::kQ, Linear::kK, Linear::kV}) {
    if (shape.at("attention_bias")) layer.set_bias(linear);
  }
  spec.layers.assign(shape.at("num_hidden_layers"), layer);
  return spec;
}

Json measure_machine(const Roofline& roofline, const std::string& what) {
  if (what == "bandwidth") return {{"bandwidth", roofline.read_bandwidth()}};
  Json rates = Json::array();
  for (const ComputeRate& rate : roofline.compute_rates()) {
    rates.push_back({{"rate", rate.flops}, {"unit", rate.unit}});
  }
  return {{"rates", rates}};
}

Json measure_steps(StepBench& bench, const Json& request) {
  const StepCase step_case{request.at("seqs"), request.at("tokens"), request.at("adapters"),
                           request.at("ranks")};
  const auto seconds = bench.run(step_case, request.at("steps"));
  return {{"seconds", seconds},
          {"bytes", bench.bytes_due(step_case)},
          {"flops", bench.flops_due(step_case)}};
}

void serve(const char* shapes_path, const char* shape_name, int num_threads) {
  const Json shapes = Json::parse(std::ifstream(shapes_path));
  const Roofline roofline(num_threads);
  StepBench bench(spec_of(shapes.at(shape_name)), num_threads);
  std::cout << Json{{"name", std::string(bench.backend_name()) + ", head in 8 bits"}} << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    const Json request = Json::parse(line);
    const Json answer = request.contains("measure")
                            ? measure_machine(roofline, request.at("measure"))
                            : measure_steps(bench, request);
    std::cout << answer << std::endl;
  }
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: cpu_driver SHAPES SHAPE THREADS\n";
    return 2;
  }
  try {
    tessera::serve(argv[1], argv[2], std::atoi(argv[3]));
  } catch (const std::exception& error) {
    std::cerr << "cpu_driver: " << error.what() << '\n';
    return 1;
  }
}
