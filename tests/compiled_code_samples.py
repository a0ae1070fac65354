"""Recorded disassembly for the self-test of compiled_code.py: (title, good, the rule's functions, count, product, ...;
code)."""

# The integer tile of one row with AVX2: a loop of the products in a loop of the segments.
TILE = """
0000000000000f80 <void octavo::kernels::(anonymous namespace)::half_tile<0ul>(octavo::kernels::ConvTile const&, long)>:
     f80:\tpush   %rbp
     f87:\tmov    %rsp,%rbp
     f93:\tand    $0xffffffffffffffe0,%rsp
     fe0:\tvmovdqa %ymm4,%ymm3
     fe8:\ttest   %r9,%r9
     feb:\tje     1001 <half_tile+0x81>
     ff9:\tvpslld %xmm0,%ymm3,%ymm3
     ffd:\tvpslld %xmm0,%ymm4,%ymm4
    1001:\tmov    (%r12,%r8,8),%rdx
    1013:\tcmp    %rcx,%rax
    1016:\tje     1056 <half_tile+0xd6>
    1020:\tvmovd  (%rsi,%rax,1),%xmm5
    1025:\tvpmovsxbw (%rdx),%ymm1
    102a:\tadd    $0x4,%rax
    102e:\tvpmovsxbw 0x10(%rdx),%ymm2
    1037:\tvpshufd $0x0,%xmm5,%xmm0
    103c:\tvpmovzxbw %xmm0,%ymm0
    1041:\tvpmaddwd %ymm1,%ymm0,%ymm1
    1045:\tvpmaddwd %ymm2,%ymm0,%ymm0
    1049:\tvpaddd %ymm3,%ymm1,%ymm3
    104d:\tvpaddd %ymm4,%ymm0,%ymm4
    1051:\tcmp    %rax,%rcx
    1054:\tjne    1020 <half_tile+0xa0>
    1056:\tadd    $0x1,%r8
    105d:\tjne    fe8 <half_tile+0x68>
    1078:\tvmovdqa %ymm3,-0x40(%rbp)
    108e:\tret
"""
TILE_RULE = ("half_tile<", 1, "vpmaddwd")
# Blocks behind the end of a function may belong to its loops.
FAR_BLOCK = TILE.replace("jne    1020", "jmp    1090").replace(
    "108e:\tret", "108e:\tret\n    1090:\tvmovdqa %ymm3,0x20(%rsp)\n    1096:\tjmp    1020 <half_tile+0xa0>")


def tile_with(old, new):
    assert old in TILE
    return TILE.replace(old, new)


SAMPLES = [
    ("a tile in registers", True, TILE_RULE, TILE),
    ("an accumulator on the stack", False, TILE_RULE,
     tile_with("vpaddd %ymm4,%ymm0,%ymm4", "vpaddd 0x20(%rsp),%ymm0,%ymm4\n    104f:\tvmovdqa %ymm4,0x20(%rsp)")),
    ("a load relative to the frame pointer", False, TILE_RULE, tile_with("vpaddd %ymm4,", "vpaddd -0x50(%rbp),")),
    ("an accumulator in memory behind another pointer", False, TILE_RULE,
     tile_with("vpaddd %ymm4,%ymm0,%ymm4", "vpaddd (%rdi),%ymm0,%ymm4\n    104f:\tvmovdqa %ymm4,(%rdi)")),
    ("half of the products", False, TILE_RULE, tile_with("vpmaddwd %ymm2,%ymm0,%ymm0", "vpxor  %ymm2,%ymm0,%ymm0")),
    ("two products of two rows that take three", False, ("half_tile<", 1, "vpmaddwd", 0, 0, 0, False, 1, 3), TILE),
    ("a spill in a block far from its loop", False, TILE_RULE, FAR_BLOCK),
    ("spills between the loops only", True, TILE_RULE, tile_with("ff9:\tvpslld %xmm0,%ymm3,%ymm3",
                                                                  "ff9:\tvmovdqa %ymm3,0x20(%rsp)")),
    ("a tile of another name", False, ("whole_tile<", 1, "vpmaddwd"), TILE),
    ("no product that the rule knows", False, ("half_tile<", 1, "vpdpbusd"), TILE),
    ("a borne load of a constant", True, ("half_tile<", 1, "", 0, 1), tile_with("vpaddd %ymm4,", "vpaddd 0x8(%rsp),")),
    ("more loads than are borne", False, ("half_tile<", 1, "", 0, 1),
     tile_with("vpaddd %ymm4,", "vpaddd 0x8(%rsp),").replace("vpaddd %ymm3,", "vpaddd 0x28(%rsp),")),
]
