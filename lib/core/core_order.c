/* An AVL tree: its depth is bounded whatever names clients choose, and needs no random numbers. */
#include "base_check.h"
#include "core_state.h"

static uint8_t height(const lm_entry_t *node) { return node ? node->height : 0; }

static lm_entry_t *left_of(const lm_entry_t *node) { return lm_pool_at(node, node->left); }

static lm_entry_t *right_of(const lm_entry_t *node) { return lm_pool_at(node, node->right); }

static int balance(const lm_entry_t *node)
{
    return height(left_of(node)) - height(right_of(node));
}

static void measure(lm_entry_t *node)
{
    uint8_t left = height(left_of(node)), right = height(right_of(node));
    node->height = (uint8_t)((left > right ? left : right) + 1);
}

static lm_entry_t *rotate_right(lm_entry_t *node)
{
    lm_entry_t *up = left_of(node);
    node->left = up->right;
    up->right = lm_pool_ref(node);
    measure(node);
    measure(up);
    return up;
}

static lm_entry_t *rotate_left(lm_entry_t *node)
{
    lm_entry_t *up = right_of(node);
    node->right = up->left;
    up->left = lm_pool_ref(node);
    measure(node);
    measure(up);
    return up;
}

static lm_entry_t *rebalance(lm_entry_t *node)
{
    measure(node);
    if (balance(node) > 1) {
        if (balance(left_of(node)) < 0) node->left = lm_pool_ref(rotate_left(left_of(node)));
        return rotate_right(node);
    }
    if (balance(node) < -1) {
        if (balance(right_of(node)) > 0) node->right = lm_pool_ref(rotate_right(right_of(node)));
        return rotate_left(node);
    }
    return node;
}

static int compare(lm_bytes_t name, const lm_entry_t *node)
{
    return lm_bytes_compare(name, lm_bytes(node->name, node->name_size));
}

lm_entry_t *lm_order_insert(lm_entry_t *root, lm_entry_t *entry)
{
    if (!root) {
        entry->left = entry->right = 0;
        entry->height = 1;
        return entry;
    }
    int order = compare(lm_bytes(entry->name, entry->name_size), root);
    LM_CHECK(order != 0, "two locks of one name");
    if (order < 0)
        root->left = lm_pool_ref(lm_order_insert(left_of(root), entry));
    else
        root->right = lm_pool_ref(lm_order_insert(right_of(root), entry));
    return rebalance(root);
}

/** Takes the least entry out of a subtree. */
static lm_entry_t *remove_least(lm_entry_t *root, lm_entry_t **least)
{
    if (!root->left) {
        *least = root;
        return right_of(root);
    }
    root->left = lm_pool_ref(remove_least(left_of(root), least));
    return rebalance(root);
}

lm_entry_t *lm_order_remove(lm_entry_t *root, lm_entry_t *entry)
{
    LM_CHECK(root, "the lock is not in the tree");
    if (root == entry) {
        if (!root->right) return left_of(root);
        lm_entry_t *heir;
        lm_entry_t *right = remove_least(right_of(root), &heir);
        heir->left = root->left;
        heir->right = lm_pool_ref(right);
        return rebalance(heir);
    }
    if (compare(lm_bytes(entry->name, entry->name_size), root) < 0)
        root->left = lm_pool_ref(lm_order_remove(left_of(root), entry));
    else
        root->right = lm_pool_ref(lm_order_remove(right_of(root), entry));
    return rebalance(root);
}

lm_entry_t *lm_order_seek(lm_entry_t *root, lm_bytes_t from, bool after)
{
    lm_entry_t *best = NULL;
    while (root) {
        int order = compare(from, root);
        if (order < 0 || (order == 0 && !after)) {
            best = root;
            root = left_of(root);
        } else {
            root = right_of(root);
        }
    }
    return best;
}

/** Verifies a subtree whose names must lie between those of two entries, each of which may be
 *  NULL. */
static uint64_t verify_between(const lm_entry_t *node, const lm_entry_t *low,
                               const lm_entry_t *high)
{
    if (!node) return 0;
    lm_bytes_t name = lm_bytes(node->name, node->name_size);
    LM_CHECK(!low || compare(name, low) > 0, "tree is not sorted");
    LM_CHECK(!high || compare(name, high) < 0, "tree is not sorted");
    LM_CHECK(balance(node) >= -1 && balance(node) <= 1, "tree is not balanced");
    uint8_t below = height(balance(node) > 0 ? left_of(node) : right_of(node));
    LM_CHECK(node->height == below + 1, "height %d above %d", node->height, below);
    return 1 + verify_between(left_of(node), low, node) +
           verify_between(right_of(node), node, high);
}

uint64_t lm_order_verify(const lm_entry_t *root) { return verify_between(root, NULL, NULL); }
