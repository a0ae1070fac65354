#!/usr/bin/env python3
"""Checks that the compiled inner loops keep their vectors in registers: a compiler that spills accumulators halves
the speed in silence. Finds functions by their demangled names and loops by their backward jumps.

    compiled_code.py [--build-type T --sanitize S --processor P] OBJECT...   exit 77: skipped, and why
    compiled_code.py --self-test        the same checks on recorded code, good and bad
"""
import argparse
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

from compiled_code_samples import SAMPLES

SKIPPED = 77


@dataclass
class Rule:
    """What holds in the innermost loops that work on vectors, of the functions whose names match."""

    file: str
    functions: str
    count: int  # at least so many functions have such loops
    product: str = ""  # only loops with this instruction; they store no vectors at all
    products: int = 0  # of one iteration; 0: by the template's numbers, which are its rows
    stack_loads: int = 0  # known and borne: constants that find no register
    stack_stores: int = 0
    results: bool = False  # the loop of the product stores results too
    more_rows: int = 0  # beside the template's numbers
    of_two_rows: int = 4  # products


AVX2, AVX512 = "avx2/", "avx512vnni/"
STRIPS = "run_strips<.*WholeStrip"  # 15 chains, 3 tails, 2 types; without steps and tail there is nothing to do
SUMS = "(add_lanes|fill_lanes|run_fused_sums)<"  # 5 chains, 2 types, however they are inlined
RULES = [
    Rule(AVX512 + "conv_s8_tiles", "(?<!summed_)wide_tile<", 28, "vpdpbusd"),
    Rule(AVX512 + "conv_s8_tiles", "(?<!summed_)narrow_tile<", 28, "vpdpbusd"),
    Rule(AVX512 + "conv_s8_tiles", "summed_wide_tile<", 13, "vpdpbusd", more_rows=1),
    Rule(AVX512 + "conv_s8_tiles", "summed_narrow_tile<", 13, "vpdpbusd", more_rows=1),
    Rule(AVX512 + "conv_s8_tiles", "finished_tile<true", 2, "vpdpbusd"),
    Rule(AVX512 + "conv_s8_tiles", "finished_tile<false", 2, "vpdpbusd"),
    Rule(AVX512 + "conv_s8_tiles_24", "(?<!summed_)pair_tile<", 30, "vpdpbusd", of_two_rows=3),
    Rule(AVX512 + "conv_s8_tiles_24", "summed_pair_tile<", 13, "vpdpbusd", more_rows=1, of_two_rows=3),
    Rule(AVX512 + "conv_s8_tiles_24_bf16", "converted_pair_tile<", 2, "vpdpbusd", of_two_rows=3),
    Rule(AVX512 + "conv_s8_tiles_bf16", "converted_tile<true", 2, "vpdpbusd"),
    Rule(AVX512 + "conv_s8_tiles_bf16", "converted_tile<false", 2, "vpdpbusd"),
    Rule(AVX512 + "depthwise_s8", "(plain_block<.*, 4>|any_block<)", 4, "vpdpbusd", 4),
    # Three units and the sums leave eight registers to constants and results: some spill.
    Rule(AVX512 + "depthwise_s8", "slide<.*, 1, 2, .*, 4>", 2, "vpdpbusd", 72, stack_loads=7, stack_stores=7,
         results=True),
    Rule(AVX512 + "depthwise_s8", "slide<.*, 1, 1, .*, 4>", 2, "vpdpbusd", 36, stack_loads=3, stack_stores=15,
         results=True),
    Rule(AVX512 + "depthwise_s8", "slide<.*, 2, 1, .*, 4>", 2, "vpdpbusd", 24, stack_loads=2, stack_stores=5,
         results=True),
    Rule(AVX512 + "depthwise_s8", "add_columns<", 1, "vpdpbusd", 4),
    Rule(AVX512 + "depthwise_s8", "add_strided_columns<", 1, "vpdpbusd", 12),
    Rule(AVX512 + "depthwise_s8", "add_taps<.*, 3>", 1, "vpdpbusd", 12),
    Rule(AVX512 + "depthwise_s8", "add_taps<.*, 1>", 1, "vpdpbusd", 4),
    Rule(AVX512 + "depthwise_s8", "GradientRun<.*fill", 1, "vpdpbusd", 4, results=True),
    Rule(AVX512 + "chain", STRIPS, 88),
    Rule(AVX512 + "chain", SUMS, 10),
    Rule(AVX512 + "chain", "quantize_both", 1),
    Rule(AVX2 + "conv_s8", "half_tile<", 12, "vpmaddwd"),
    Rule(AVX2 + "depthwise_s8", "(plain_block<.*, 2>|any_block<)", 1, "vpmaddwd", 2),
    # GCC keeps the G of three pixels, which 16 registers do not hold.
    Rule(AVX2 + "depthwise_s8", "add_columns<", 1, "vpmaddwd", 2, stack_loads=8, stack_stores=8, results=True),
    Rule(AVX2 + "depthwise_s8", "add_taps<.*, 3>", 1, "vpmaddwd", 6),
    Rule(AVX2 + "depthwise_s8", "add_taps<.*, 1>", 1, "vpmaddwd", 2),
    Rule(AVX2 + "depthwise_s8", "GradientRun<.*fill", 1, "vpmaddwd", 2, results=True),
    # 16 registers hold a strip's four vectors, but not the constants of the generator, the quantizer, bfloat16 and
    # the bits beside them.
    Rule(AVX2 + "chain", STRIPS, 88, stack_loads=24, stack_stores=4),
    Rule(AVX2 + "chain", SUMS, 10, stack_loads=4),
]


def read_functions(text):
    """Pairs of a name and its instructions, (address, text) each."""
    functions = []
    for line in text.splitlines():
        if header := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            functions.append((header[1], []))
        elif functions and (row := re.match(r"\s*([0-9a-f]+):\s+([^#]*)", line)):
            functions[-1][1].append((int(row[1], 16), row[2].strip()))
    return functions


def successors_of(instructions):
    place = {address: i for i, (address, _) in enumerate(instructions)}
    successors = {}
    for i, (_, text) in enumerate(instructions):
        jump = re.match(r"(?:notrack |bnd )?(j\w+)\s+([0-9a-f]+)?", text)
        following = [i + 1] if i + 1 < len(instructions) else []
        if re.match(r"(ret|ud2|jmp|notrack jmp)", text):
            following = []
        target = place.get(int(jump[2], 16)) if jump and jump[2] else None
        successors[i] = following + ([] if target is None else [target])
    return successors


def strong_components(successors):
    """Sets of places that reach each other (Tarjan, without recursion)."""
    order, low, stack, found = {}, {}, [], []
    for root in successors:
        work = [] if root in order else [(root, iter(successors[root]))]
        while work:
            node, rest = work[-1]
            if node not in order:
                order[node] = low[node] = len(order)
                stack.append(node)
            for other in rest:
                if other not in order:
                    work.append((other, iter(successors[other])))
                    break
                low[node] = min(low[node], low[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == order[node]:
                    part = set(stack[stack.index(node):])
                    del stack[-len(part):]
                    low.update(dict.fromkeys(part, sys.maxsize))  # done: no longer on the stack
                    found.append(part)
    return found


def innermost_loops(successors, entries=frozenset({0})):
    """A loop is a set of places that reach each other; without the jumps to its heads its inner loops remain."""
    loops = []
    for part in strong_components(successors):
        if not any(other in part for node in part for other in successors[node]):
            continue
        outside = {other for node in successors if node not in part for other in successors[node]}
        heads = part & (outside | entries) or {min(part)}
        inside = {node: [s for s in successors[node] if s in part and s not in heads] for node in part}
        loops += innermost_loops(inside, frozenset()) or [sorted(part)]
    return loops


@dataclass
class Loop:
    instructions: int
    products: int
    stores: int
    stack_loads: int
    stack_stores: int


def measure(texts, product, frame_pointer):
    vectors = [text for text in texts if re.search(r"%[xyz]mm", text)]
    stack = r"\(%r(sp|bp)" if frame_pointer else r"\(%rsp"
    stores = [text for text in vectors if re.search(r"\)(\{%k\d\})?$", text)]
    on_stack = [text for text in vectors if re.search(stack, text)]
    stack_stores = [text for text in on_stack if text in stores]
    return Loop(len(texts), sum(product in text for text in vectors) if product else 0, len(stores),
                len(on_stack) - len(stack_stores), len(stack_stores))


def working_loops(instructions, product):
    frame_pointer = any(re.match(r"mov\s+%rsp,%rbp", text) for _, text in instructions)
    for places in innermost_loops(successors_of(instructions)):
        texts = [instructions[i][1] for i in places]
        if any(re.search(product or "%[yz]mm", text) for text in texts):
            yield measure(texts, product, frame_pointer)


def short_name(name):
    for part in ("octavo::kernels::", "(anonymous namespace)::", "void "):
        name = name.replace(part, "")
    return re.sub(r"\((ConvTile|Depthwise|ChainPlan|Summands).*", "", name)


def wrong_with(rule, name, loops):
    """What a function's loops break; empty when nothing."""
    rows = len(re.findall(r"\d+ul", name))
    expected = rule.products or ((rows + rule.more_rows) * rule.of_two_rows + 1) // 2
    wrong = []
    for loop in loops:
        if loop.stack_loads > rule.stack_loads or loop.stack_stores > rule.stack_stores:
            wrong.append(f"vectors on the stack: {loop.stack_loads} loads, {loop.stack_stores} stores")
        if rule.product and loop.stores and not rule.results:
            wrong.append(f"{loop.stores} vectors stored")
        # A compiler may unroll, but not leave rows to an inner loop.
        if rule.product and (loop.products == 0 or loop.products % expected):
            wrong.append(f"{loop.products} {rule.product}, expected {expected}")
    return wrong


def describe(loop, product):
    return (f"{loop.instructions} instructions" + (f" with {loop.products} {product}" if product else "") +
            (f" and {loop.stack_loads} loads, {loop.stack_stores} stores of the stack"
             if loop.stack_loads or loop.stack_stores else ""))


def check(rule, functions):
    """Prints a line for each function; answers how many things are wrong."""
    found = bad = 0
    for name, code in functions:
        loops = list(working_loops(code, rule.product)) if re.search(rule.functions, name) else []
        if not loops:
            continue
        found += 1
        wrong = wrong_with(rule, name, loops)
        bad += len(wrong)
        print(f"{'WRONG' if wrong else 'ok'}  {rule.file} {short_name(name)}: " +
              "; ".join(describe(loop, rule.product) for loop in loops), *(f"      {line}" for line in wrong), sep="\n")
    if found < rule.count:
        print(f"WRONG  {rule.file}: {found} functions '{rule.functions}' have such loops, expected {rule.count}")
        bad += 1
    return bad


def self_test():
    failed = 0
    for title, good, rule, text in SAMPLES:
        print(f"-- {title}, must {'pass' if good else 'fail'}")
        failed += (check(Rule("sample", *rule), read_functions(text)) == 0) != good
    print(f"self-test: {failed} of {len(SAMPLES)} samples judged wrongly")
    return failed


def reason_to_skip(arguments):
    if arguments.processor not in ("x86_64", "AMD64"):
        return f"the loops are for x86-64, this is {arguments.processor}"
    if arguments.build_type != "Release":
        return f"only a Release build promises anything, this is {arguments.build_type or 'without a type'}"
    if arguments.sanitize:
        return f"sanitizers ({arguments.sanitize}) need registers"
    return "" if shutil.which("objdump") else "objdump (binutils) is missing"


def disassemble(path):
    return subprocess.run(["objdump", "-d", "--no-show-raw-insn", "-C", path], check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--build-type", default="Release")
    parser.add_argument("--sanitize", default="")
    parser.add_argument("--processor", default="x86_64")
    parser.add_argument("objects", nargs="*")
    arguments = parser.parse_args()
    if arguments.self_test:
        sys.exit(1 if self_test() else 0)
    if reason := reason_to_skip(arguments):
        print("skipped:", reason)
        sys.exit(SKIPPED)
    bad = 0
    for file in dict.fromkeys(rule.file for rule in RULES):
        objects = [path for path in arguments.objects if f"/{file}." in path]
        if len(objects) != 1:
            sys.exit(f"expected one object of {file}, found {objects}")
        functions = read_functions(disassemble(objects[0]))
        bad += sum(check(rule, functions) for rule in RULES if rule.file == file)
    print(f"{bad} wrong" if bad else "every loop is as it should be")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
